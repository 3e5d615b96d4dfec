package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"sallyport.dev/sallyport/services/world"
)

// serveMetrics opens the Prometheus port.
func (p *process) serveMetrics(ctx context.Context, group *errgroup.Group) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newCollector(p))
	listener, err := net.Listen("tcp", p.options.metricsListen)
	if err != nil {
		return fmt.Errorf("--metrics-listen %s: %w", p.options.metricsListen, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("metrics: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	return nil
}

// collector reads the services' numbers when it is asked.
type collector struct {
	p *process

	storeSize, storeInUse, storeQuota, storeRevision, storeAlarm   *prometheus.Desc
	streams, lag, unanswered, halted, updates, keys, removes, nack *prometheus.Desc
	hosts, connected, pairs, pairsUp                               *prometheus.Desc
	leader, held, created, refused, conflicts                      *prometheus.Desc
}

func newCollector(p *process) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sallyport_controller_"+name, help, labels, nil)
	}
	return &collector{
		p:             p,
		storeSize:     desc("etcd_size_bytes", "Size of etcd's database.", "endpoint"),
		storeInUse:    desc("etcd_in_use_bytes", "Bytes of etcd's database in use.", "endpoint"),
		storeQuota:    desc("etcd_quota_bytes", "Size at which etcd stops writing.", "endpoint"),
		storeRevision: desc("store_revision", "Revision of the store that this controller has seen."),
		storeAlarm:    desc("etcd_alarm", "1 for each alarm that etcd has raised.", "alarm"),
		streams:       desc("sync_streams", "Open Sync streams."),
		lag:           desc("sync_lag_revisions", "Revisions that the agent furthest behind has yet to hear of."),
		unanswered:    desc("sync_unanswered", "Messages that agents have not answered yet."),
		halted:        desc("sync_halted", "1 when nothing is delivered because the store is older than what an agent has seen."),
		updates:       desc("sync_updates_total", "Configurations and pairs sent to agents."),
		keys:          desc("sync_keys_total", "Security associations sent to agents."),
		removes:       desc("sync_removes_total", "Tombstones sent to agents."),
		nack:          desc("sync_nacks_total", "Resources that agents refused.", "reason"),
		hosts:         desc("hosts", "Hosts of the fleet."),
		connected:     desc("hosts_connected", "Hosts with an open Sync stream."),
		pairs:         desc("pairs_wanted", "Pairs that policies want."),
		pairsUp:       desc("pairs_up", "Wanted pairs that are up."),
		leader:        desc("planner_leader", "1 when this controller plans."),
		held:          desc("planner_held_pairs", "Pairs whose deletion waits for confirmation."),
		created:       desc("planner_generations_total", "Generations of security associations made."),
		refused:       desc("planner_refused_total", "Generations withdrawn because an agent refused them."),
		conflicts:     desc("planner_conflicts_total", "Transactions that something had changed under."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.storeRevision, float64(c.p.view.Revision()))
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	c.collectStore(gauge)
	c.collectWorld(gauge)
	c.collectFleet(gauge, counter)
	c.collectPlanner(gauge, counter)
}

type (
	gaugeFunc   func(d *prometheus.Desc, v float64, labels ...string)
	counterFunc func(d *prometheus.Desc, v uint64, labels ...string)
)

func (c *collector) collectStore(gauge gaugeFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	status, err := c.p.store.Status(ctx)
	if err != nil {
		return // the absence of the series says it
	}
	for _, e := range status.Endpoints {
		if e.Err != nil {
			continue
		}
		gauge(c.storeSize, float64(e.Size), e.Endpoint)
		gauge(c.storeInUse, float64(e.InUse), e.Endpoint)
		gauge(c.storeQuota, float64(e.Quota), e.Endpoint)
	}
	for _, alarm := range []string{"NOSPACE", "CORRUPT"} {
		gauge(c.storeAlarm, flag(status.Alarmed(alarm)), alarm)
	}
}

func (c *collector) collectWorld(gauge gaugeFunc) {
	c.p.world.Read(func(s world.State) {
		connected := 0
		for h := range s.World.Hosts() {
			if h.Live {
				connected++
			}
		}
		gauge(c.hosts, float64(s.World.HostCount()))
		gauge(c.connected, float64(connected))
		gauge(c.pairs, float64(s.World.PairCount()))
		gauge(c.pairsUp, float64(s.PairsUp()))
	})
}

func (c *collector) collectPlanner(gauge gaugeFunc, counter counterFunc) {
	if c.p.planner == nil {
		return
	}
	s := c.p.planner.Stats()
	gauge(c.leader, flag(s.Leading))
	gauge(c.held, float64(s.Held))
	counter(c.created, s.Created)
	counter(c.refused, s.Refused)
	counter(c.conflicts, s.Conflicts)
}

func (c *collector) collectFleet(gauge gaugeFunc, counter counterFunc) {
	if c.p.fleetService == nil {
		return
	}
	m := c.p.fleetService.Metrics()
	gauge(c.streams, float64(m.Open))
	gauge(c.lag, float64(m.Lag))
	gauge(c.unanswered, float64(m.Unanswered))
	gauge(c.halted, flag(m.Halted))
	counter(c.updates, m.Updates)
	counter(c.keys, m.Keys)
	counter(c.removes, m.Removes)
	for reason, n := range m.Nacks {
		counter(c.nack, n, reason)
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
