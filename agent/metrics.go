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

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/local"
)

// serveMetrics opens the Prometheus port.
func (a *agent) serveMetrics(ctx context.Context, group *errgroup.Group) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newCollector(a))
	listener, err := net.Listen("tcp", a.options.metricsListen)
	if err != nil {
		return fmt.Errorf("--metrics-listen %s: %w", a.options.metricsListen, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4}))
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

// collector reads the agent's numbers when it is asked. Nothing is labelled by peer: a host may have
// thousands.
type collector struct {
	a *agent

	packets, bytes, drops, associations, age, left, pairs, pairsUp *prometheus.Desc
	connected, streams, revision, silence, certificate             *prometheus.Desc
}

func newCollector(a *agent) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sallyport_agent_"+name, help, labels, nil)
	}
	return &collector{
		a:            a,
		packets:      desc("packets_total", "Inner packets protected (out) and delivered (in).", "direction"),
		bytes:        desc("bytes_total", "Bytes of inner packets protected (out) and delivered (in).", "direction"),
		drops:        desc("drops_total", "Packets dropped, by reason.", "reason"),
		associations: desc("security_associations", "Security associations installed.", "direction"),
		age:          desc("oldest_association_age_seconds", "Age of the oldest security association that carries a pair's traffic."),
		left:         desc("least_headroom_seconds", "Time until the first pair ends, if the controller stays away."),
		pairs:        desc("pairs", "Hosts that this one may speak with."),
		pairsUp:      desc("pairs_up", "Pairs with a security association both ways."),
		connected:    desc("connected", "1 while the controller's Sync stream is open."),
		streams:      desc("streams_total", "Sync streams opened."),
		revision:     desc("sync_revision", "Revision of the store up to which the controller has sent everything."),
		silence:      desc("sync_lag_seconds", "Time since the stream was lost; 0 while it is open."),
		certificate:  desc("certificate_expiry_timestamp_seconds", "End of the host's certificate."),
	}
}

// Describe implements prometheus.Collector: the metrics are always the same.
func (c *collector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	counters := c.a.datapath.Counters()
	count(c.packets, counters.OutPackets, "out")
	count(c.packets, counters.InPackets, "in")
	count(c.bytes, counters.OutBytes, "out")
	count(c.bytes, counters.InBytes, "in")
	for _, r := range datapath.Reasons() {
		count(c.drops, counters.Drops(r), r.String())
	}
	status := c.a.status()
	gauge(c.pairs, float64(status.Pairs))
	gauge(c.pairsUp, float64(status.PairsUp))
	c.collectAssociations(gauge)
	up := status.Uplink
	connected, silence := 0.0, 0.0
	if up.Connected {
		connected = 1
	} else if !up.Since.IsZero() {
		silence = time.Since(up.Since).Seconds()
	}
	gauge(c.connected, connected)
	gauge(c.silence, silence)
	count(c.streams, up.Streams)
	gauge(c.revision, float64(up.Revision))
	if !up.CertificateNotAfter.IsZero() {
		gauge(c.certificate, float64(up.CertificateNotAfter.Unix()))
	}
}

func (c *collector) collectAssociations(gauge func(*prometheus.Desc, float64, ...string)) {
	sas := c.a.datapath.SAs()
	var in, outbound float64
	var oldest time.Duration
	for _, sa := range sas {
		if sa.Inbound {
			in++
			continue
		}
		outbound++
		oldest = max(oldest, sa.Age)
	}
	gauge(c.associations, in, "in")
	gauge(c.associations, outbound, "out")
	gauge(c.age, oldest.Seconds())
	gauge(c.left, local.Alone(sas).Seconds())
}
