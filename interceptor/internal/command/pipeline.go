package command

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/spf13/pflag"

	"capstan/interceptor/internal/content"
	"capstan/interceptor/internal/engine"
	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/http1"
	"capstan/interceptor/internal/l7/http2"
	"capstan/interceptor/internal/l7/websocket"
	"capstan/interceptor/internal/ledger"
	"capstan/interceptor/internal/memlimit"
	"capstan/interceptor/internal/memory"
	"capstan/interceptor/internal/source"
	"capstan/pkg/capture"
	"capstan/pkg/defrag"
	"capstan/pkg/packet"
	"capstan/pkg/reassembly"
)

// recordFlags are the flags of run and read that tell what a record holds.
type recordFlags struct {
	output    outputFlags
	sinks     sinkFlags
	bodyLimit int
	mask      []string
	maskQuery []string
	logFormat string
	reads     bool // files, not a capture
	memory    int64
	budget    *memory.Budget // made by begin
	keep      *exchange.Keep // made of bodyLimit, mask and maskQuery; shared by the engines
	decode    packet.Config
	streams   reassembly.Config
	fragments defrag.Config
	decoded   content.Config
	flows     bool
	http1     http1.Config
	http2     http2.Config
	websocket websocket.Config
	shards    int
	captures  int // at a time, each of as many shards, which share the cap; 0 is one
}

func (f *recordFlags) register(flags *pflag.FlagSet) {
	flags.StringVarP(&f.output.format, "output", "o", "text", "format of the records: text, json (one object per line), or none")
	f.sinks.register(flags)
	flags.String(configFlag, "", "YAML file that says what flags don't; see docs/configuration.md")
	flags.Int64Var(&f.memory, "memory", 0, "bytes of memory to stay below, by telling less if nothing else helps (README tells in which order); 0 = nine tenths of the control group's limit, or GOMEMLIMIT, or 512 MiB")
	flags.StringVar(&f.output.color, "color", "auto", "colour in text records: auto, always or never")
	flags.IntVar(&f.bodyLimit, "body-limit", 4096, "bytes of each body to keep in a record; 0 = none")
	f.decoded = content.DefaultConfig()
	flags.Int64Var(&f.decoded.MaxDecoded, "max-decoded", f.decoded.MaxDecoded, "bytes that what is kept of a body may decode to (gzip, deflate, br, zstd); at most an eighth of --memory")
	flags.Int64Var(&f.decoded.MaxRatio, "max-decoded-ratio", f.decoded.MaxRatio, "bytes that may come of each byte of a body that is decoded, beyond 64 KiB in all")
	flags.BoolVar(&f.flows, "flows", true, "tell connections that carry TLS, an unknown protocol, or HTTP without a message, when they close")
	flags.StringSliceVar(&f.mask, "mask-header", nil, "headers to mask besides the usual ones that carry credentials; -NAME is not masked")
	flags.StringSliceVar(&f.maskQuery, "mask-query", nil, "parameters of URLs to mask besides the usual ones that carry credentials; -NAME is not masked")
	flags.TextVar(&f.decode.Checksums, "checksums", packet.ChecksumIgnore, "`policy` on IP and TCP checksums: ignore them, count the bad ones, or drop packets that have one")
	flags.BoolVar(&f.decode.Scoped, "by-network", false, "tell connections apart by VLAN, VXLAN, Geneve and GRE network too, for networks that share addresses")
	f.streams, f.fragments = reassembly.DefaultConfig(), defrag.DefaultConfig()
	flags.BoolVar(&f.streams.UrgentOutOfBand, "urgent-out-of-band", false, "take TCP's urgent bytes out of the stream, as most sockets do, instead of leaving them in")
	flags.TextVar(&f.streams.Overlap, "overlap", reassembly.OverlapFirst, "`policy` on bytes of a TCP stream that wait behind missing ones and come again as others: first or last, whichever stay; the record has the flaw conflict")
	flags.DurationVar(&f.streams.CopyWindow, "copy-window", f.streams.CopyWindow, "how long after a TCP packet another one that equals it is taken for the same, captured at another interface as well, and not for a repetition; 0 = never")
	flags.DurationVar(&f.streams.AckTolerance, "reorder-window", f.streams.AckTolerance, "how long missing bytes of a TCP stream may come yet after the other end has acknowledged them, where its direction is captured earlier; 0 = not at all")
	flags.DurationVar(&f.streams.HoleTimeout, "hole-timeout", f.streams.HoleTimeout, "how long bytes of a TCP stream may be missing of which it isn't known whether the other end has them")
	flags.DurationVar(&f.streams.IdleTimeout, "idle-timeout", f.streams.IdleTimeout, "how long a TCP connection may be silent before it is given up")
	flags.IntVar(&f.streams.MaxConnections, "max-connections", f.streams.MaxConnections, "TCP connections to know at a time, of a source or each of its shards; beyond it the least recently active goes")
	flags.IntVar(&f.streams.MaxHoleBytes, "max-stream-queue", f.streams.MaxHoleBytes, "bytes of one TCP stream to keep behind missing ones; beyond it these are given up")
	flags.IntVar(&f.streams.MaxQueuedTotal, "max-queue", f.streams.MaxQueuedTotal, "bytes of all TCP streams of a source, or of each of its shards, to keep behind missing ones; beyond it the oldest hole is given up")
	flags.IntVar(&f.streams.History, "max-history", f.streams.History, "TCP segments of a source, or of each of its shards, to remember, which tell copies and repetitions of other content; 64 B each, rounded up to a power of two")
	flags.IntVar(&f.fragments.MaxBytes, "max-fragments", f.fragments.MaxBytes, "bytes of IP fragments of a source to keep, 256 for each packet included; beyond it the oldest packet goes")
	f.http1, f.http2, f.websocket = http1.DefaultConfig(), http2.DefaultConfig(), websocket.DefaultConfig()
	flags.IntVar(&f.http1.MaxHeadLen, "max-header-section", f.http1.MaxHeadLen, "bytes of an HTTP/1 header section to record; the rest is only looked at for framing")
	flags.IntVar(&f.http1.MaxFields, "max-header-fields", f.http1.MaxFields, "header fields of an HTTP/1 section or an HTTP/2 block to record; 16 at least")
	flags.Int64Var(&f.http1.MaxUnparsed, "max-unparsed", f.http1.MaxUnparsed, "bytes of a direction of HTTP/1 that are none, until no message is looked for any more")
	flags.IntVar(&f.http1.MaxPending, "max-pending", f.http1.MaxPending, "HTTP/1 requests of a connection that may wait for responses; beyond it the oldest is told without")
	flags.IntVar(&f.http1.MaxPendingBytes, "max-pending-bytes", f.http1.MaxPendingBytes, "bytes that HTTP/1 requests which wait for responses may hold")
	flags.IntVar(&f.http2.MaxHeaderBlock, "max-header-block", f.http2.MaxHeaderBlock, "bytes of an HTTP/2 header block to read; what is beyond it is passed over, and unknown")
	flags.IntVar(&f.http2.Headers.ListSize, "max-header-list", f.http2.Headers.ListSize, "bytes of names and values of an HTTP/2 block to record, which may be many times its length")
	flags.Int64Var(&f.http2.MaxUnparsed, "max-unframed", f.http2.MaxUnparsed, "bytes of a direction of HTTP/2 in which no frame is found, until none is looked for any more")
	flags.IntVar(&f.http2.MaxStreams, "max-streams", f.http2.MaxStreams, "open HTTP/2 streams of a connection; beyond it the oldest is told as it is")
	flags.IntVar(&f.http2.MaxStreamBytes, "max-stream-bytes", f.http2.MaxStreamBytes, "bytes that the open HTTP/2 streams of a connection may hold")
	flags.IntVar(&f.http2.Headers.TableSize, "max-header-table", f.http2.Headers.TableSize, "bytes of an HPACK table to keep; what was in the rest is unknown")
	flags.BoolVar(&f.http2.InferFields, "infer-grpc-fields", false, "tell header fields of gRPC calls that refer to what was not captured, by what all calls have; such records have the flaw PLACE_GUESSED, and are wrong where an encoder does what none that is known does")
	flags.IntVar(&f.websocket.MaxMessages, "max-messages", f.websocket.MaxMessages, "messages of a WebSocket to tell one by one; all are counted")
	flags.IntVar(&f.websocket.MaxCompressed, "max-message", f.websocket.MaxCompressed, "bytes of a compressed message of a WebSocket to keep; a longer one is not inflated, nor are those behind it that may refer to it")
	flags.IntVar(&f.websocket.MaxInflated, "max-message-inflated", f.websocket.MaxInflated, "bytes that a compressed message of a WebSocket may inflate to")
	flags.IntVar(&f.shards, "shards", 1, "among how many goroutines, or captures at the same server, the connections of a source are divided")
	flags.StringVar(&f.logFormat, "log-format", "text", "format of log lines: text or json")
	sizes(flags, "memory", "body-limit", "max-decoded", "max-stream-queue", "max-queue", "max-fragments", "max-header-section", "max-pending-bytes", "max-header-block",
		"max-stream-bytes", "max-header-table", "max-unparsed", "max-header-list", "max-unframed", "max-message", "max-message-inflated")
	positive(flags, "max-decoded", "max-decoded-ratio", "hole-timeout", "idle-timeout", "max-connections", "max-stream-queue", "max-queue", "max-fragments",
		"max-history", "max-header-section", "max-header-fields", "max-unparsed", "max-pending", "max-pending-bytes", "max-header-block", "max-streams", "max-stream-bytes", "max-header-table",
		"max-header-list", "max-unframed", "max-messages", "max-message", "max-message-inflated", "shards")
	notNegative(flags, "memory", "body-limit", "copy-window", "reorder-window")
}

// reassembly is streams, in which 0 stands for the default.
func (f *recordFlags) reassembly() reassembly.Config {
	c := f.streams
	for _, window := range []*time.Duration{&c.CopyWindow, &c.AckTolerance} {
		if *window == 0 {
			*window = -1
		}
	}
	return c
}

// leastFields is how many fields HTTP/1 records at the least.
const leastFields = 16

// frames is http2, with what it has in common with HTTP/1.
func (f *recordFlags) frames() http2.Config {
	c := f.http2
	c.Headers.Fields = max(f.http1.MaxFields, leastFields)
	return c
}

// maxShards is as many as a capture server divides a device into.
const maxShards = 256

func (f *recordFlags) check() error {
	if f.shards > maxShards {
		return usageError{fmt.Errorf("--shards %d is more than %d", f.shards, maxShards)}
	}
	return nil
}

// defaultMemory is the cap where neither flag nor surroundings name one.
const defaultMemory = 512 << 20

// begin makes the cap on memory stand, until the function that it returns is
// called.
func (f *recordFlags) begin() (end func()) {
	before := debug.SetMemoryLimit(-1)
	limit := memlimit.Apply(f.memory)
	if limit == 0 {
		limit = min(debug.SetMemoryLimit(-1), defaultMemory) // GOMEMLIMIT, if it is set
	}
	f.budget = memory.NewBudget(uint64(limit))
	return func() {
		f.budget.Close()
		debug.SetMemoryLimit(before)
	}
}

// What the process takes whatever arrives, each shard besides, and having more than one:
// with less, the collector runs all the time, all that arrives is shed at once, and what is
// on its way to shards is too much of it.
const (
	leastMemory         = 15 << 20
	leastMemoryOfShard  = 1 << 20
	leastMemoryOfShards = 2 << 20
)

// allShards returns how many shards there are at a time.
func (f *recordFlags) allShards() int { return max(f.captures, 1) * f.shards }

// checkMemory refuses a cap of limit bytes, if the process can't stay below it.
func (f *recordFlags) checkMemory(limit uint64) error {
	least := leastMemory + uint64(f.allShards())*leastMemoryOfShard
	if f.allShards() > 1 {
		least += leastMemoryOfShards
	}
	switch {
	case limit >= least:
	case f.captures > 1:
		return fmt.Errorf("the memory limit is %d bytes; %d sources with --shards %d need %d", limit, f.captures, f.shards, least)
	default:
		return fmt.Errorf("the memory limit is %d bytes; --shards %d needs %d", limit, f.shards, least)
	}
	return nil
}

// windowsShare is which part of the cap the windows of all shards of all sources may take, for one coding:
// they are kept.
const windowsShare = 32

// boundDecoded has no body decode to more than a share of the cap, which one that is
// decoded at once could exceed before anything is shed: in a record it is there up to three
// times, in as many encodings.
func (f *recordFlags) boundDecoded(log *slog.Logger) {
	if most := int64(f.budget.Limit() / queueShare); f.decoded.MaxDecoded > most {
		log.Warn("max_decoded is more than an eighth of the memory limit, and lowered to that", "bytes", f.decoded.MaxDecoded, "to", most)
		f.decoded.MaxDecoded = most
	}
	f.decoded.MaxWindow = min(f.decoded.MaxWindow, int64(f.budget.Limit())/windowsShare/int64(f.allShards()))
}

// pipeline takes the frames of one source, or of a shard of it that is captured
// apart, to the output.
type pipeline struct {
	name   string
	live   *source.RPCAP // nil for a file
	engine *engine.Engine
}

// newPipeline returns the pipeline called name of a source, which is live unless that is
// nil, divided into so many shards here.
func newPipeline(name, from string, live *source.RPCAP, shards int, flags *recordFlags, out *output) *pipeline {
	return &pipeline{
		name: name,
		live: live,
		engine: engine.New(engine.Config{
			Decode: flags.decode, Reassembly: flags.reassembly(), Defrag: flags.fragments, HTTP1: flags.http1, HTTP2: flags.frames(), WebSocket: flags.websocket,
			Memory: flags.budget, Engines: flags.allShards() / shards,
			NoConnectionRecords: !flags.flows,
			Exchange: exchange.Config{
				Source:  from,
				Keep:    flags.keep,
				Content: flags.decoded,
				Emit:    out.Emit,
			},
			Live: live != nil, Shards: shards, Encode: out.Encode, Write: out.Write, Drained: out.Flush,
		}),
	}
}

// Frame implements source.Sink.
func (p *pipeline) Frame(f *capture.Frame) { p.engine.Frame(f) }

// Exchange implements capture.Buffers.
func (p *pipeline) Exchange(n int) []byte { return p.engine.Exchange(n) }

// Drained implements source.Sink.
func (p *pipeline) Drained() { p.engine.Drained() }

// Idle implements source.Sink.
func (p *pipeline) Idle(d time.Duration) { p.engine.Idle(d) }

// Lost implements source.Sink.
func (p *pipeline) Lost() { p.engine.SourceLost() }

// finish ends the pipeline after its source.
func (p *pipeline) finish() { p.engine.Finish() }

func (p *pipeline) ledger() ledger.Ledger {
	l := ledger.Ledger{Name: p.name, Engine: p.engine.Snapshot(), Handover: p.engine.Handover()}
	if p.live != nil {
		l.Live, l.Source = true, p.live.Counters()
	}
	return l
}
