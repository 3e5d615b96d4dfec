package cmd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/manifest"
	"sallyport.dev/sallyport/controller/sallyport/resource"
)

// testNow is the time in every script.
var testNow = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// fake is a controller in memory: enough of one to answer the command line as the real one does.
type fake struct {
	operatorv1.UnimplementedResourceServiceServer
	operatorv1.UnimplementedAdminServiceServer

	mu       sync.Mutex
	revision int64
	stored   map[string]*operatorv1.Resource // by Ref
	watchers map[chan *operatorv1.WatchResponse]bool
	status   *operatorv1.GetStatusResponse
	fails    map[string][]error // by method, each once
	backup   []byte
	restored []byte
	pageSize int
	rekeys   int
	rekeyed  func(before time.Time)
}

func newFake() *fake {
	return &fake{
		revision: 100, stored: map[string]*operatorv1.Resource{}, fails: map[string][]error{},
		watchers: map[chan *operatorv1.WatchResponse]bool{}, pageSize: 2,
		status: &operatorv1.GetStatusResponse{
			Controller: &operatorv1.ControllerStatus{
				Name: "c1", Version: "v1.2.3", TrustDomain: "example.net", Planner: "c1",
				StartTime: timestamppb.New(testNow.Add(-3 * time.Hour)),
			},
			Store: &operatorv1.StoreStatus{Revision: 100, DbSize: 3 << 20, DbSizeInUse: 1 << 20, Quota: 8 << 30},
		},
	}
}

// refusal makes an error with details, as services/rpc does.
func refusal(code codes.Code, message string, details ...protoadapt.MessageV1) error {
	s, err := grpcstatus.New(code, message).WithDetails(details...)
	if err != nil {
		panic(err)
	}
	return s.Err()
}

func violation(field, description string) *errdetails.BadRequest {
	return &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: description}}}
}

// intercept answers with a failure that a script asked for.
func (f *fake) intercept(method string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := method[strings.LastIndexByte(method, '/')+1:]
	list := f.fails[name]
	if len(list) == 0 {
		return nil
	}
	f.fails[name] = list[1:]
	return list[0]
}

func (f *fake) server() *grpc.Server {
	s := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, in any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if err := f.intercept(info.FullMethod); err != nil {
				return nil, err
			}
			return next(ctx, in)
		}),
		grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if err := f.intercept(info.FullMethod); err != nil {
				return err
			}
			return next(srv, ss)
		}))
	operatorv1.RegisterResourceServiceServer(s, f)
	operatorv1.RegisterAdminServiceServer(s, f)
	return s
}

func ref(k operatorv1.Kind, name string) string { return resource.OfEnum(k).Singular + "/" + name }

func missing(k operatorv1.Kind, name string) error {
	return refusal(codes.NotFound, fmt.Sprintf("there is no %s %s", resource.OfEnum(k).Name, name))
}

// put stores r and tells the watchers. The lock is held.
func (f *fake) put(r *operatorv1.Resource) {
	f.revision++
	change := operatorv1.ChangeType_CHANGE_TYPE_MODIFIED
	if f.stored[resource.Ref(r)] == nil {
		change = operatorv1.ChangeType_CHANGE_TYPE_ADDED
	}
	md := resource.Metadata(r)
	md.Revision = f.revision
	if md.GetUid() == "" {
		md.Uid = fmt.Sprintf("%016x", f.revision)
	}
	if md.GetCreateTime() == nil {
		md.CreateTime = timestamppb.New(testNow.Add(-90 * time.Minute))
	}
	f.stored[resource.Ref(r)] = r
	f.tell(change, r)
}

func (f *fake) tell(t operatorv1.ChangeType, r *operatorv1.Resource) {
	for w := range f.watchers {
		w <- &operatorv1.WatchResponse{Type: t, Resource: proto.CloneOf(r), Revision: f.revision}
	}
}

func (f *fake) drop(key string) {
	f.revision++
	r := f.stored[key]
	delete(f.stored, key)
	f.tell(operatorv1.ChangeType_CHANGE_TYPE_DELETED, r)
}

func (f *fake) Get(_ context.Context, in *operatorv1.GetRequest) (*operatorv1.GetResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.stored[ref(in.GetKind(), in.GetName())]
	if !ok {
		return nil, missing(in.GetKind(), in.GetName())
	}
	return &operatorv1.GetResponse{Resource: r}, nil
}

// all lists a kind. Selectors are just "k=v" here.
func (f *fake) all(k operatorv1.Kind, selector string) []*operatorv1.Resource {
	var list []*operatorv1.Resource
	for key, r := range f.stored {
		label, value, _ := strings.Cut(selector, "=")
		if strings.HasPrefix(key, resource.OfEnum(k).Singular+"/") && (selector == "" || resource.Metadata(r).GetLabels()[label] == value) {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(x, y *operatorv1.Resource) int { return strings.Compare(resource.Ref(x), resource.Ref(y)) })
	return list
}

func (f *fake) List(_ context.Context, in *operatorv1.ListRequest) (*operatorv1.ListResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.all(in.GetKind(), in.GetSelector())
	from := 0
	if in.GetPageToken() != "" {
		if _, err := fmt.Sscanf(in.GetPageToken(), "page-%d", &from); err != nil {
			return nil, refusal(codes.InvalidArgument, "bad page token")
		}
	}
	to := min(from+f.pageSize, len(list))
	response := &operatorv1.ListResponse{Resources: list[from:to], Revision: f.revision}
	if to < len(list) {
		response.NextPageToken = fmt.Sprintf("page-%d", to)
	}
	return response, nil
}

func (f *fake) Create(_ context.Context, in *operatorv1.CreateRequest) (*operatorv1.CreateResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := in.GetResource()
	token := r.GetJoinToken()
	token.Metadata.Name = fmt.Sprintf("t%d", f.revision)
	if token.GetSpec().GetMaxUses() == 0 {
		token.Spec.MaxUses = 1
	}
	if token.GetSpec().GetExpireTime() == nil {
		token.Spec.ExpireTime = timestamppb.New(testNow.Add(24 * time.Hour))
	}
	f.put(r)
	return &operatorv1.CreateResponse{Resource: r, JoinToken: "sp1." + token.GetMetadata().GetName() + ".secret"}, nil
}

func (f *fake) Delete(_ context.Context, in *operatorv1.DeleteRequest) (*operatorv1.DeleteResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.stored[ref(in.GetKind(), in.GetName())]
	if !ok {
		return nil, missing(in.GetKind(), in.GetName())
	}
	if in.GetRevision() != 0 && in.GetRevision() != resource.Metadata(r).GetRevision() {
		return nil, refusal(codes.Aborted, fmt.Sprintf("the revision is %d now", resource.Metadata(r).GetRevision()))
	}
	if !in.GetDryRun() {
		f.drop(ref(in.GetKind(), in.GetName()))
	}
	return &operatorv1.DeleteResponse{}, nil
}

// check is the validation that the scripts need.
func (f *fake) check(i int, r *operatorv1.Resource) error {
	for j, subnet := range r.GetHost().GetSpec().GetSubnets() {
		if strings.HasSuffix(subnet, "/99") {
			field := fmt.Sprintf("resources[%d].host.spec.subnets[%d]", i, j)
			return refusal(codes.InvalidArgument, "1 field is not valid; nothing was written",
				violation(field, fmt.Sprintf("Host %q: %s is not a prefix", resource.Metadata(r).GetName(), subnet)))
		}
	}
	if p := r.GetPolicy(); p != nil && p.GetSpec().GetLifetime().GetRekeyTime().AsDuration() > 24*time.Hour {
		return refusal(codes.InvalidArgument, "", violation(fmt.Sprintf("resources[%d].policy.spec.lifetime.rekey_time", i), "must be at most 24h"))
	}
	name := resource.Metadata(r).GetName()
	if old, ok := f.stored[resource.Ref(r)]; ok {
		if want := resource.Metadata(r).GetRevision(); want != 0 && want != resource.Metadata(old).GetRevision() {
			kind, _ := resource.Of(r)
			is := resource.Metadata(old).GetRevision()
			return refusal(codes.Aborted, fmt.Sprintf("%s %q is at revision %d, but the request is based on revision %d", kind.Name, name, is, want),
				&errdetails.ResourceInfo{ResourceType: kind.Name, ResourceName: name},
				violation("metadata.revision", fmt.Sprintf("is %d, current is %d", want, is)))
		}
	}
	return nil
}

func (f *fake) Apply(_ context.Context, in *operatorv1.ApplyRequest) (*operatorv1.ApplyResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, r := range in.GetResources() {
		if err := f.check(i, r); err != nil {
			return nil, err
		}
	}
	response := &operatorv1.ApplyResponse{}
	given := map[string]bool{}
	for _, r := range in.GetResources() {
		given[resource.Ref(r)] = true
		response.Results = append(response.Results, f.apply(r, in.GetDryRun()))
	}
	if !in.GetPrune() {
		return response, nil
	}
	for _, k := range []operatorv1.Kind{operatorv1.Kind_KIND_HOST, operatorv1.Kind_KIND_POLICY, operatorv1.Kind_KIND_MANUAL_PEER} {
		for _, r := range f.all(k, in.GetPruneSelector()) {
			if given[resource.Ref(r)] {
				continue
			}
			if !in.GetDryRun() {
				f.drop(resource.Ref(r))
			}
			response.Results = append(response.Results, &operatorv1.ApplyResponse_Result{
				Kind: k, Name: resource.Metadata(r).GetName(), Action: operatorv1.ApplyAction_APPLY_ACTION_DELETED, Before: r,
			})
		}
	}
	return response, nil
}

func (f *fake) apply(r *operatorv1.Resource, dryRun bool) *operatorv1.ApplyResponse_Result {
	kind, _ := resource.Of(r)
	name := resource.Metadata(r).GetName()
	result := &operatorv1.ApplyResponse_Result{Kind: kind.Enum, Name: name}
	if strings.HasPrefix(name, "unlucky") {
		result.Action, result.Error = operatorv1.ApplyAction_APPLY_ACTION_FAILED, "the address pool is full"
		return result
	}
	if p := r.GetPolicy(); p != nil {
		defaults(p.GetSpec())
		if p.GetSpec().GetHosts() == "role=nobody" {
			result.Warnings = append(result.Warnings, `no host matches "role=nobody"`)
		}
	}
	before := f.stored[resource.Ref(r)]
	result.Before, result.After = before, r
	if p := r.GetManualPeer(); p != nil {
		hide(p.GetSpec().GetInbound(), before.GetManualPeer().GetSpec().GetInbound())
		hide(p.GetSpec().GetOutbound(), before.GetManualPeer().GetSpec().GetOutbound())
	}
	switch {
	case before == nil:
		result.Action = operatorv1.ApplyAction_APPLY_ACTION_CREATED
	case string(manifest.AppendIntent(nil, before)) == string(manifest.AppendIntent(nil, r)):
		result.Action = operatorv1.ApplyAction_APPLY_ACTION_UNCHANGED
		result.After = before
		return result
	default:
		result.Action = operatorv1.ApplyAction_APPLY_ACTION_UPDATED
	}
	if !dryRun {
		f.put(r)
	}
	return result
}

// hide puts a fingerprint in the place of a key.
func hide(a, before *operatorv1.ManualAssociation) {
	const hidden = "[redacted]"
	if a.GetKey() == "" || a.GetKey() == hidden {
		a.Fingerprint = before.GetFingerprint()
	} else {
		sum := sha256.Sum256([]byte(a.GetKey()))
		a.Fingerprint = hex.EncodeToString(sum[:4])
	}
	a.Key = hidden
}

func defaults(s *operatorv1.PolicySpec) {
	if s.GetStart() == "" {
		s.Start = "always"
	}
	if s.GetProposal() == "" {
		s.Proposal = "aes256gcm16"
	}
	if s.GetLifetime() == nil {
		s.Lifetime = &operatorv1.PolicyLifetime{RekeyTime: durationpb.New(time.Hour), HardTime: durationpb.New(8 * time.Hour)}
	}
}

func (f *fake) Watch(in *operatorv1.WatchRequest, stream grpc.ServerStreamingServer[operatorv1.WatchResponse]) error {
	changes := make(chan *operatorv1.WatchResponse, 100)
	f.mu.Lock()
	f.watchers[changes] = true
	since := f.revision
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, changes)
	}()
	if in.GetStartRevision() < since { // the fake keeps no history
		return refusal(codes.OutOfRange, "the store has forgotten this revision")
	}
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case c, ok := <-changes:
			if !ok {
				return refusal(codes.Unavailable, "going down")
			}
			if k, _ := resource.Of(c.GetResource()); !slices.Contains(in.GetKinds(), k.Enum) {
				continue
			}
			if err := stream.Send(c); err != nil {
				return err
			}
		}
	}
}

func (f *fake) GetStatus(context.Context, *operatorv1.GetStatusRequest) (*operatorv1.GetStatusResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return proto.CloneOf(f.status), nil
}

func (f *fake) Rekey(_ context.Context, in *operatorv1.RekeyRequest) (*operatorv1.RekeyResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if in.GetPolicy() != "" && f.stored[ref(operatorv1.Kind_KIND_POLICY, in.GetPolicy())] == nil {
		return nil, missing(operatorv1.Kind_KIND_POLICY, in.GetPolicy())
	}
	f.rekeys++
	before := testNow.Add(time.Duration(f.rekeys) * time.Second)
	if f.rekeyed != nil {
		go f.rekeyed(before)
	}
	return &operatorv1.RekeyResponse{Pairs: f.status.GetPairsWanted(), RekeyBefore: timestamppb.New(before)}, nil
}

func (f *fake) ConfirmDeletions(_ context.Context, in *operatorv1.ConfirmDeletionsRequest) (*operatorv1.ConfirmDeletionsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if in.GetHost() != "" && f.stored[ref(operatorv1.Kind_KIND_HOST, in.GetHost())] == nil {
		return nil, missing(operatorv1.Kind_KIND_HOST, in.GetHost())
	}
	held := f.status.GetPairsHeld()
	f.status.PairsHeld = 0
	return &operatorv1.ConfirmDeletionsResponse{Pairs: held}, nil
}

func (f *fake) RotateCA(_ context.Context, in *operatorv1.RotateCARequest) (*operatorv1.RotateCAResponse, error) {
	if in.GetStep() == operatorv1.RotateStep_ROTATE_STEP_FINISH && !in.GetForce() {
		return nil, refusal(codes.FailedPrecondition, "3 hosts still hold certificates of the old root: wait for them or use force")
	}
	return &operatorv1.RotateCAResponse{Roots: []*operatorv1.RotateCAResponse_Root{
		{Id: "r1", PublicKeyHash: "aa", Active: true, ExpireTime: timestamppb.New(testNow.AddDate(10, 0, 0))},
		{Id: "r2", PublicKeyHash: "bb", ExpireTime: timestamppb.New(testNow.AddDate(20, 0, 0))},
	}}, nil
}

func (f *fake) Backup(_ *operatorv1.BackupRequest, stream grpc.ServerStreamingServer[operatorv1.BackupResponse]) error {
	f.mu.Lock()
	data := f.backup
	f.mu.Unlock()
	for chunk := range slices.Chunk(data, 1000) {
		if err := stream.Send(&operatorv1.BackupResponse{Chunk: chunk}); err != nil {
			return err
		}
	}
	return f.intercept("BackupEnd")
}

func (f *fake) Restore(stream grpc.ClientStreamingServer[operatorv1.RestoreRequest, operatorv1.RestoreResponse]) error {
	var data []byte
	for {
		part, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if len(part.GetChunk()) > restoreChunk {
			return refusal(codes.InvalidArgument, "chunk too long")
		}
		data = append(data, part.GetChunk()...)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.restored = data
	return stream.SendAndClose(&operatorv1.RestoreResponse{Incarnation: 2, Keys: 42, Revocations: 1})
}
