// Package metrics serves the ledger to Prometheus.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"capstan/interceptor/internal/clients"
	"capstan/interceptor/internal/engine"
	"capstan/interceptor/internal/ledger"
	"capstan/interceptor/internal/memory"
	"capstan/pkg/defrag"
	"capstan/pkg/packet"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// Config of [Serve].
type Config struct {
	Address string // HOST:PORT or unix:PATH; empty serves nothing
	Ledgers func() []ledger.Ledger
	Output  func() ledger.Output
	Budget  *memory.Budget  // of the process
	Pprof   bool            // serve /debug/pprof/, too
	Clients *clients.Counts // those who ask; nil: nobody wants to know
}

// maxConnections is how many may be connected at the same time.
const maxConnections = 64

// Serve serves /metrics, /healthz and /readyz until the function that it returns
// is called.
func Serve(c Config) (stop func(), err error) {
	if c.Address == "" {
		return func() {}, nil
	}
	listener, err := listen(c.Address)
	if err != nil {
		return nil, fmt.Errorf("serve metrics: %w", err)
	}
	if c.Clients == nil {
		c.Clients = new(clients.Counts)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(&collector{ledgers: c.Ledgers, output: c.Output, budget: c.Budget}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewBuildInfoCollector())
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, sourceProblems(c.Ledgers())) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, append(sourceProblems(c.Ledgers()), sinkProblems(c.Output())...))
	})
	if c.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	done := make(chan struct{})
	go func() { // ends with Shutdown or Close
		defer close(done)
		if err := server.Serve(c.Clients.Limit(listener, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			_ = listener.Close()
		}
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
		<-done
	}, nil
}

// answer tells 200, or 503 and the problems, a line each.
func answer(w http.ResponseWriter, problems []string) {
	if len(problems) > 0 {
		http.Error(w, strings.Join(problems, "\n"), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// sourceProblems tells which sources no frames can come from.
func sourceProblems(ledgers []ledger.Ledger) (problems []string) {
	for _, l := range ledgers {
		if l.Live && !l.Source.Connected {
			problems = append(problems, "not connected to "+l.Name)
		} else if l.Source.Silent {
			problems = append(problems, "no answer from "+l.Name)
		}
	}
	return problems
}

// sinkProblems tells which sinks take no records.
func sinkProblems(out ledger.Output) (problems []string) {
	for _, s := range out.Sinks {
		if s.Failing {
			problems = append(problems, "sink "+s.Name+" takes no records: "+s.Problem)
		}
	}
	return problems
}

// collector turns the ledger into metrics each time it is asked.
type collector struct {
	ledgers func() []ledger.Ledger
	output  func() ledger.Output
	budget  *memory.Budget
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("interceptor_"+name, help, labels, nil)
}

// metric is one family whose samples come from a ledger.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	yield func(l *ledger.Ledger, sample func(value float64, labels ...string))
}

// perSource are the families with a source label.
func perSource() []metric {
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	one := func(value func(*ledger.Ledger) float64) func(*ledger.Ledger, func(float64, ...string)) {
		return func(l *ledger.Ledger, sample func(float64, ...string)) { sample(value(l)) }
	}
	return []metric{
		{desc("source_connected", "1 while frames can arrive from the source.", "source"), gauge, one(func(l *ledger.Ledger) float64 {
			if l.Source.Connected {
				return 1
			}
			return 0
		})},
		{desc("source_daemons_refused_total", "Daemons in active mode that are not the source's server, or didn't authenticate.", "source"), counter, one(func(l *ledger.Ledger) float64 { return float64(l.Source.Refused) })},
		{desc("source_outages_total", "Intervals without capture.", "source"), counter, one(func(l *ledger.Ledger) float64 { return float64(l.Source.OutageCount) })},
		{desc("source_outage_seconds_total", "Time without capture.", "source"), counter, one(func(l *ledger.Ledger) float64 { return l.Source.OutageTime.Seconds() })},
		{desc("server_frames_total", "Frames by what the capture server says of them.", "source", "outcome"), counter, serverFrames},
		{desc("frames_total", "Frames that arrived, by what they were found to be.", "source", "outcome"), counter, frames},
		{desc("frame_bytes_total", "Captured bytes of the frames that arrived.", "source"), counter, one(func(l *ledger.Ledger) float64 { return float64(l.Engine.Bytes) })},
		{desc("fragments_total", "Fragments of IP packets by what became of them.", "source", "outcome"), counter, fragments},
		{desc("checksums_total", "TCP packets by what their checksums are, where they are verified.", "source", "verdict"), counter, checksums},
		{desc("payload_bytes_total", "TCP payload by what became of it.", "source", "outcome"), counter, payload},
		{desc("gap_bytes_total", "TCP payload that was never captured.", "source"), counter, one(func(l *ledger.Ledger) float64 { return float64(l.Engine.Reassembly.GapBytes) })},
		{desc("gaps_total", "Holes in TCP streams.", "source"), counter, one(func(l *ledger.Ledger) float64 { return float64(l.Engine.Reassembly.Gaps) })},
		{desc("connections", "Open TCP connections that carried payload, by protocol.", "source", "protocol"), gauge, connections},
		{desc("connections_closed_total", "TCP connections closed, by reason.", "source", "reason"), counter, closed},
		{desc("segment_oddities_total", "TCP segments of which something is odd; they are in the other figures too.", "source", "kind"), counter, oddities},
		{desc("queued_bytes", "TCP payload that waits for bytes before it.", "source"), gauge, one(func(l *ledger.Ledger) float64 { return float64(l.Engine.Reassembly.QueuedBytes) })},
		{desc("exchanges_total", "Records: exchanges by how much of them was seen, and those of connections that carry none.", "source", "outcome"), counter, exchanges},
		{desc("http2_bytes_total", "Bytes of HTTP/2 by what they were.", "source", "kind"), counter, http2Bytes},
		{desc("http1_bytes_total", "Bytes of HTTP/1 by what they were.", "source", "kind"), counter, http1Bytes},
		{desc("http1_doubts_total", "What could not be read of HTTP/1, by reason.", "source", "reason"), counter, http1Doubts},
		{desc("shed_total", "What was given up for lack of room, by kind.", "source", "kind"), counter, shed},
		{desc("waiting", "What is kept, by kind.", "source", "kind"), gauge, waiting},
		{desc("held_bytes", "Bytes of what is kept, by kind, as the limits on them count; bodies may be in requests and streams, too.", "source", "kind"), gauge, held},
		{desc("shards_blocked_seconds_total", "Time that the source has waited for its shards, which had as much before them as may be.", "source"), counter, one(func(l *ledger.Ledger) float64 { return l.Handover.Blocked.Seconds() })},
		{desc("bodies_cut_total", "Bodies of which no more is kept than body_limit allows.", "source"), counter, one(func(l *ledger.Ledger) float64 { return float64(l.Engine.Exchange.CutBodies) })},
		{desc("http2_doubts_total", "What could not be read of HTTP/2, by reason.", "source", "reason"), counter, http2Doubts},
		{desc("decoded_bodies_total", "Bodies with content codings, by how far these could be undone.", "source", "outcome"), counter, decoded},
		{desc("masked_headers_total", "Header values masked.", "source"), counter, one(func(l *ledger.Ledger) float64 { return float64(l.Engine.Exchange.MaskedHeaders) })},
		{desc("masked_queries_total", "URLs of which values were masked: targets, and header fields with links.", "source"), counter, one(func(l *ledger.Ledger) float64 { return float64(l.Engine.Exchange.MaskedQueries) })},
	}
}

func serverFrames(l *ledger.Ledger, sample func(float64, ...string)) {
	sample(float64(l.Source.ServerSent), "sent")
	sample(float64(l.Source.ServerDropped), "dropped")
	sample(float64(l.Source.ServerInterfaceDropped), "interface_dropped")
	sample(float64(l.Source.Missing), "missing")
	sample(float64(l.Source.ServerOtherFlows), "other_connections")
}

func frames(l *ledger.Ledger, sample func(float64, ...string)) {
	for o, n := range l.Engine.Outcomes {
		sample(float64(n), packet.Outcome(o).String())
	}
}

func fragments(l *ledger.Ledger, sample func(float64, ...string)) {
	sample(float64(l.Engine.Defrag.Joined), "joined")
	for reason, n := range l.Engine.Defrag.Dropped {
		sample(float64(n), "dropped-"+defrag.DropReason(reason).String())
	}
}

func checksums(l *ledger.Ledger, sample func(float64, ...string)) {
	for verdict, n := range l.Engine.Decode.Checksums {
		sample(float64(n), packet.Checksum(verdict).String())
	}
}

func payload(l *ledger.Ledger, sample func(float64, ...string)) {
	r := &l.Engine.Reassembly
	sample(float64(r.DeliveredBytes), "in-order")
	sample(float64(r.DuplicateBytes), "repeated")
	sample(float64(r.CopyBytes), "captured-again")
	for reason, n := range r.DroppedBytes {
		sample(float64(n), "dropped-"+reassembly.DropReason(reason).String())
	}
}

func oddities(l *ledger.Ledger, sample func(float64, ...string)) {
	r := &l.Engine.Reassembly
	sample(float64(r.OutOfOrder), "out-of-order")
	sample(float64(r.Duplicates), "repeated")
	sample(float64(r.Copies), "captured-again")
	sample(float64(r.Conflicts), "conflict")
	sample(float64(r.UrgentSegments), "urgent")
	sample(float64(r.Shed), "hole-shed")
	sample(float64(r.LateSegments), "late")
	sample(float64(r.StraySegments), "stray")
	sample(float64(r.IgnoredRST), "ignored-rst")
	sample(float64(r.IgnoredSYN), "ignored-syn")
}

func connections(l *ledger.Ledger, sample func(float64, ...string)) {
	for p, s := range l.Engine.Protocols {
		sample(float64(s.Active), engine.Protocol(p).String())
	}
}

func closed(l *ledger.Ledger, sample func(float64, ...string)) {
	for reason, n := range l.Engine.Reassembly.Closed {
		sample(float64(n), reassembly.CloseReason(reason).String())
	}
}

// shed are the events of limits being reached; those that end with "-memory"
// are of the limit on all memory.
func shed(l *ledger.Ledger, sample func(float64, ...string)) {
	r := &l.Engine.Reassembly
	sample(float64(r.Shed), "hole")
	sample(float64(r.StreamShed), "stream-hole")
	sample(float64(r.EvictedTuples), "tuple")
	sample(float64(r.Beyond), "segment")
	sample(float64(r.ShedTuples), "tuple-memory")
	sample(float64(r.ShedHistory), "segment-memory")
	sample(float64(r.ShedConnections), "connection-memory")
	sample(float64(r.Closed[reassembly.CloseEvicted]-r.ShedConnections), "connection")
	sample(float64(l.Engine.Defrag.Dropped[defrag.DropLimit]), "fragment")
	sample(float64(l.Engine.Defrag.Dropped[defrag.DropShed]), "fragment-memory")
	sample(float64(l.Engine.Undecided.Cuts), "undecided")
	sample(float64(l.Engine.TLS.Unread), "tls-hello")
	sample(float64(l.Engine.HTTP1.HeadCuts), "http1-header-section")
	sample(float64(l.Engine.HTTP1.FieldCuts), "http1-fields")
	sample(float64(l.Engine.HTTP1.GivenUp), "http1-direction")
	sample(float64(l.Engine.HTTP1.ShedRequests), "http1-request")
	sample(float64(l.Engine.HTTP2.ShedStreams), "http2-stream")
	sample(float64(l.Engine.HTTP2.HeaderCuts), "http2-header-block")
	sample(float64(l.Engine.HTTP2.TableCuts), "http2-table")
	sample(float64(l.Engine.HTTP2.SearchCuts), "http2-search")
	sample(float64(l.Engine.HTTP2.GivenUp), "http2-direction")
	sample(float64(l.Engine.WebSocket.Unlisted), "websocket-message")
	sample(float64(l.Engine.WebSocket.Uninflated), "websocket-inflation")
	sample(float64(l.Engine.Exchange.Decoded[capstanv1.Decoding_DECODING_LIMIT]), "decoded-body")
}

func waiting(l *ledger.Ledger, sample func(float64, ...string)) {
	r := &l.Engine.Reassembly
	sample(float64(r.Active), "connection")
	sample(float64(r.Lingering), "tuple")
	sample(float64(r.Remembered), "segment")
	sample(float64(l.Engine.Defrag.Waiting), "fragment")
	sample(float64(l.Engine.HTTP1.Waiting), "http1-request")
	sample(float64(l.Engine.HTTP2.Open), "http2-stream")
	sample(float64(l.Engine.WebSocket.Listed), "websocket-message")
}

func held(l *ledger.Ledger, sample func(float64, ...string)) {
	e := &l.Engine
	sample(float64(e.Reassembly.Charge), "segment")
	sample(float64(e.Defrag.Charge), "fragment")
	sample(float64(e.Undecided.Held), "undecided")
	sample(float64(e.TLS.Held), "tls-hello")
	sample(float64(l.Handover.Held), "round")
	sample(float64(e.HTTP1.Charge), "http1-request")
	sample(float64(e.HTTP1.HeldHeads), "http1-header-section")
	sample(float64(e.HTTP1.HeldContent), "http1-body")
	sample(float64(e.HTTP2.Charge), "http2-stream")
	sample(float64(e.HTTP2.HeldBlocks), "http2-header-block")
	sample(float64(e.HTTP2.HeldContent), "http2-body")
	sample(float64(e.HTTP2.HeldTables), "http2-table")
	sample(float64(e.HTTP2.HeldSearch), "http2-search")
	sample(float64(e.WebSocket.Held), "websocket")
	sample(float64(e.Exchange.HeldDecoders), "decoder")
}

func http1Bytes(l *ledger.Ledger, sample func(float64, ...string)) {
	h := &l.Engine.HTTP1
	sample(float64(h.HeadBytes), "headers")
	sample(float64(h.FramingBytes), "framing")
	sample(float64(h.BodyBytes), "data")
	sample(float64(h.SkippedBytes), "skipped")
	sample(float64(h.TunnelledBytes), "tunnelled")
}

func http1Doubts(l *ledger.Ledger, sample func(float64, ...string)) {
	h := &l.Engine.HTTP1
	sample(float64(h.Resyncs), "place-lost")
	sample(float64(h.GivenUp), "given-up")
	sample(float64(h.Doubtful), "response-doubtful")
}

func http2Bytes(l *ledger.Ledger, sample func(float64, ...string)) {
	h := &l.Engine.HTTP2
	sample(float64(h.FramingBytes), "framing")
	sample(float64(h.HeaderBytes), "headers")
	sample(float64(h.DataBytes), "data")
	sample(float64(h.SkippedBytes), "skipped")
}

func http2Doubts(l *ledger.Ledger, sample func(float64, ...string)) {
	h := &l.Engine.HTTP2
	sample(float64(h.Resyncs), "place-lost")
	sample(float64(h.GivenUp), "given-up")
	sample(float64(h.LostBlocks), "header-block-lost")
	sample(float64(h.BrokenBlocks), "header-block-broken")
	sample(float64(h.HeaderCuts), "header-block-cut")
	sample(float64(h.UnknownFields), "field-unknown")
	sample(float64(h.TableCuts), "table-cut")
	sample(float64(h.Roleless), "role-unknown")
	sample(float64(h.ShedStreams), "stream-shed")
	sample(float64(h.Doubtful), "request-doubtful")
	sample(float64(h.SearchCuts), "search-cut")
}

func exchanges(l *ledger.Ledger, sample func(float64, ...string)) {
	x := &l.Engine.Exchange
	sample(float64(x.Complete), "complete")
	sample(float64(x.Incomplete), "incomplete")
	sample(float64(x.NoRequest), "no-request")
	sample(float64(x.NoResponse), "no-response")
	sample(float64(x.Connections), "connection")
}

func decoded(l *ledger.Ledger, sample func(float64, ...string)) {
	for outcome, n := range l.Engine.Exchange.Decoded {
		if name := capstanv1.Decoding(outcome); name != capstanv1.Decoding_DECODING_UNSPECIFIED {
			sample(float64(n), strings.ToLower(strings.TrimPrefix(name.String(), "DECODING_")))
		}
	}
}

const perRecord = prometheus.CounterValue

// families of the output.
var (
	memoryDesc      = desc("memory_in_use_bytes", "Memory that the last garbage collection found in use.")
	recordsDesc     = desc("records_total", "Records by what became of them: all passed ones go to each sink, and some to standard output.", "outcome")
	bodiesDesc      = desc("bodies_omitted_total", "Bodies left out of records because of their types.")
	sinkRecordsDesc = desc("sink_records_total", "Records of a sink by what became of them; accepted and recovered ones are in one of the others, or queued or spooled.", "sink", "outcome")
	sinkQueueDesc   = desc("sink_queue_records", "Records of a sink that wait.", "sink", "where")
	sinkBytesDesc   = desc("sink_queue_bytes", "Bytes of the records of a sink that wait.", "sink", "where")
	sinkCutDesc     = desc("sink_records_cut_total", "Records that a sink got without the content of bodies, perhaps without headers, since they were longer than max_record.", "sink")
	sinkRetriesDesc = desc("sink_retries_total", "Batches of a sink that were delivered again.", "sink")
	sinkBlockedDesc = desc("sink_blocked_seconds_total", "Time that engines have waited for a sink.", "sink")
	sinkFailingDesc = desc("sink_failing", "1 if the last delivery of a sink failed, or it can't be opened.", "sink")

	memoryLimitDesc  = desc("memory_limit_bytes", "The cap on memory.")
	memoryRoundsDesc = desc("memory_shed_rounds_total", "How often memory was shed, since too much was in use.")

	clientsDesc     = desc("clients", "Connections of those who ask: for the API, or for metrics and health.", "server")
	clientsFullDesc = desc("clients_full_total", "Times that as many were connected to one address as may be; more wait until others have ended.", "server")

	watchersDesc        = desc("watchers", "How many watch.")
	watchersRefusedDesc = desc("watchers_refused_total", "Watchers refused, since there were too many.")
	watchKeptDesc       = desc("watch_kept_records", "Records kept for watchers.")
	watchBytesDesc      = desc("watch_kept_bytes", "Bytes of memory that they take.")
	watchRecordsDesc    = desc("watch_records_total", "Records for watchers: kept, or passed by while nobody watches; those that were kept are forgotten for newer ones, or shed for lack of memory.", "outcome")
	watchCutDesc        = desc("watch_records_cut_total", "Records that came to a watcher without the content of bodies, since they were longer than 4 MiB.")
	watchMissedDesc     = desc("watch_missed_records_total", "Records that were not there for watchers any more, or never, counted for each watcher.")
)

func outputDescs() []*prometheus.Desc {
	return []*prometheus.Desc{recordsDesc, bodiesDesc, sinkRecordsDesc, sinkQueueDesc, sinkBytesDesc, sinkCutDesc, sinkRetriesDesc, sinkBlockedDesc, sinkFailingDesc,
		watchersDesc, watchersRefusedDesc, watchKeptDesc, watchBytesDesc, watchRecordsDesc, watchCutDesc, watchMissedDesc, clientsDesc, clientsFullDesc}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- memoryDesc
	ch <- memoryLimitDesc
	ch <- memoryRoundsDesc
	for _, d := range outputDescs() {
		ch <- d
	}
	for _, m := range perSource() {
		ch <- m.desc
	}
}

// collectOutput yields what does not depend on a source.
func collectOutput(ch chan<- prometheus.Metric, out ledger.Output) {
	const gauge = prometheus.GaugeValue
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	send(recordsDesc, perRecord, float64(out.Emitted), "written")
	send(recordsDesc, perRecord, float64(out.Failed), "failed")
	send(recordsDesc, perRecord, float64(out.Passed), "passed")
	send(recordsDesc, perRecord, float64(out.Own), "own")
	send(recordsDesc, perRecord, float64(out.Denied), "denied")
	send(bodiesDesc, perRecord, float64(out.BodiesOmitted))
	w := &out.Watch
	send(watchersDesc, gauge, float64(w.Watchers))
	send(watchersRefusedDesc, perRecord, float64(w.Refused))
	send(watchKeptDesc, gauge, float64(w.Kept))
	send(watchBytesDesc, gauge, float64(w.Bytes))
	send(watchRecordsDesc, perRecord, float64(w.Taken), "kept")
	send(watchRecordsDesc, perRecord, float64(w.Records-w.Taken), "passed")
	send(watchRecordsDesc, perRecord, float64(w.Forgotten), "forgotten")
	send(watchRecordsDesc, perRecord, float64(w.Shed), "shed")
	send(watchCutDesc, perRecord, float64(w.Cut))
	send(watchMissedDesc, perRecord, float64(w.Missed))
	for _, c := range []struct {
		server string
		of     clients.Stats
	}{{"api", out.API}, {"metrics", out.Metrics}} {
		send(clientsDesc, gauge, float64(c.of.Connected), c.server)
		send(clientsFullDesc, perRecord, float64(c.of.Full), c.server)
	}
	for i := range out.Sinks {
		s := &out.Sinks[i]
		for _, o := range []struct {
			outcome string
			n       uint64
		}{
			{"accepted", s.Accepted}, {"recovered", s.Recovered}, {"delivered", s.Delivered}, {"dropped", s.Dropped},
			{"shed", s.Shed}, {"rejected", s.Rejected}, {"spool-full", s.SpoolFull}, {"spool-lost", s.SpoolLost},
		} {
			send(sinkRecordsDesc, perRecord, float64(o.n), s.Name, o.outcome)
		}
		send(sinkQueueDesc, gauge, float64(s.Queued), s.Name, "memory")
		send(sinkQueueDesc, gauge, float64(s.Spooled), s.Name, "disk")
		send(sinkBytesDesc, gauge, float64(s.QueuedBytes), s.Name, "memory")
		send(sinkBytesDesc, gauge, float64(s.SpoolBytes), s.Name, "disk")
		send(sinkCutDesc, perRecord, float64(s.Cut), s.Name)
		send(sinkRetriesDesc, perRecord, float64(s.Retries), s.Name)
		send(sinkBlockedDesc, perRecord, s.Blocked.Seconds(), s.Name)
		failing := 0.0
		if s.Failing {
			failing = 1
		}
		send(sinkFailingDesc, gauge, failing, s.Name)
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(memoryDesc, prometheus.GaugeValue, float64(memory.InUse()))
	ch <- prometheus.MustNewConstMetric(memoryLimitDesc, prometheus.GaugeValue, float64(c.budget.Limit()))
	ch <- prometheus.MustNewConstMetric(memoryRoundsDesc, perRecord, float64(c.budget.Rounds()))
	collectOutput(ch, c.output())
	ledgers := c.ledgers()
	for _, m := range perSource() {
		for i := range ledgers {
			m.yield(&ledgers[i], func(value float64, labels ...string) {
				ch <- prometheus.MustNewConstMetric(m.desc, m.kind, value, append([]string{ledgers[i].Name}, labels...)...)
			})
		}
	}
}
