package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	statusTimeout  = 3 * time.Second
	defragTimeout  = 10 * time.Minute
	disarmBelowPct = 90 // of the quota, after a defragmentation
)

// Status is etcd's health.
type Status struct {
	Endpoints []EndpointStatus
	Alarms    []Alarm
}

// Alarm is raised by etcd until somebody disarms it.
type Alarm struct {
	Member uint64
	Name   string // NOSPACE or CORRUPT
}

// EndpointStatus is what one member says of itself. Sizes are in bytes.
type EndpointStatus struct {
	Endpoint  string
	Err       error // not nil: it did not answer, and the rest is empty
	Version   string
	Member    uint64
	Leader    bool // this member leads
	HasLeader bool
	Learner   bool
	Term      uint64 // raft term
	Index     uint64 // raft index
	Size      int64  // of the database file
	InUse     int64  // of Size; the rest is free after Defragment
	Quota     int64  // 0 = not known (etcd before 3.6)
}

// Alarmed reports whether an alarm of that name (NOSPACE, CORRUPT) is raised.
func (s Status) Alarmed(name string) bool {
	for _, a := range s.Alarms {
		if a.Name == name {
			return true
		}
	}
	return false
}

// Status asks every endpoint, all at once. The error is ErrUnavailable when none
// answers; what single ones said stands in the Status.
func (s *Store) Status(ctx context.Context) (Status, error) {
	out := Status{Endpoints: make([]EndpointStatus, len(s.endpoints))}
	var asked sync.WaitGroup
	for i, endpoint := range s.endpoints {
		asked.Go(func() { out.Endpoints[i] = s.endpointStatus(ctx, endpoint) })
	}
	asked.Wait()
	if !slices.ContainsFunc(out.Endpoints, func(e EndpointStatus) bool { return e.Err == nil }) {
		return out, fmt.Errorf("%w: no answer from %s", ErrUnavailable, strings.Join(s.endpoints, ", "))
	}
	opCtx, cancel := s.op(ctx)
	defer cancel()
	alarms, err := s.client.AlarmList(opCtx)
	if err != nil {
		return out, s.wrap(ctx, "list alarms", err)
	}
	for _, a := range alarms.Alarms {
		out.Alarms = append(out.Alarms, Alarm{Member: a.MemberID, Name: a.Alarm.String()})
	}
	return out, nil
}

func (s *Store) endpointStatus(ctx context.Context, endpoint string) EndpointStatus {
	opCtx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	resp, err := s.client.Status(opCtx, endpoint)
	if err != nil {
		return EndpointStatus{Endpoint: endpoint, Err: s.wrap(ctx, "status of "+endpoint, err)}
	}
	return EndpointStatus{
		Endpoint: endpoint, Version: resp.Version,
		Member: resp.Header.MemberId, Leader: resp.Leader == resp.Header.MemberId, HasLeader: resp.Leader != 0,
		Learner: resp.IsLearner, Term: resp.RaftTerm, Index: resp.RaftIndex,
		Size: resp.DbSize, InUse: resp.DbSizeInUse, Quota: resp.DbSizeQuota,
	}
}

// Defragment gives the free space of each member's database back, one member
// after the other: each stops serving for a moment. A NOSPACE alarm is disarmed
// when that made enough room.
func (s *Store) Defragment(ctx context.Context) error {
	for _, endpoint := range s.endpoints {
		if err := s.defragmentOne(ctx, endpoint); err != nil {
			return err
		}
	}
	status, err := s.Status(ctx)
	if err != nil || !status.Alarmed("NOSPACE") || !status.roomy() {
		return err
	}
	return s.disarmNoSpace(ctx, status)
}

func (s *Store) defragmentOne(ctx context.Context, endpoint string) error {
	opCtx, cancel := context.WithTimeout(ctx, defragTimeout)
	defer cancel()
	_, err := s.client.Defragment(opCtx, endpoint)
	return s.wrap(ctx, "defragment "+endpoint, err)
}

// roomy reports whether every member is well below its quota.
func (s Status) roomy() bool {
	for _, e := range s.Endpoints {
		if e.Err != nil || e.Quota <= 0 || e.Size > e.Quota/100*disarmBelowPct {
			return false
		}
	}
	return true
}

func (s *Store) disarmNoSpace(ctx context.Context, status Status) error {
	for _, a := range status.Alarms {
		if a.Name != etcdserverpb.AlarmType_NOSPACE.String() {
			continue
		}
		opCtx, cancel := s.op(ctx)
		_, err := s.client.AlarmDisarm(opCtx, &clientv3.AlarmMember{MemberID: a.Member, Alarm: etcdserverpb.AlarmType_NOSPACE})
		cancel()
		if err != nil {
			return s.wrap(ctx, "disarm the NOSPACE alarm", err)
		}
	}
	return nil
}
