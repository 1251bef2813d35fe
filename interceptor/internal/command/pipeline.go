package command

import (
	"time"

	"github.com/spf13/pflag"

	"capstan/interceptor/internal/engine"
	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/ledger"
	"capstan/interceptor/internal/source"
	"capstan/pkg/capture"
	"capstan/pkg/packet"
)

// recordFlags are the flags of run and read that tell what a record holds.
type recordFlags struct {
	output    outputFlags
	bodyLimit int
	mask      []string
	logFormat string
	decode    packet.Config
}

func (f *recordFlags) register(flags *pflag.FlagSet) {
	flags.StringVarP(&f.output.format, "output", "o", "text", "format of the records: text or json (one object per line)")
	flags.StringVar(&f.output.color, "color", "auto", "colour in text records: auto, always or never")
	flags.IntVar(&f.bodyLimit, "body-limit", 4096, "bytes of each body to keep in a record; 0 keeps none")
	flags.StringSliceVar(&f.mask, "mask-header", nil, "headers to mask besides the usual ones that carry credentials")
	flags.TextVar(&f.decode.Checksums, "checksums", packet.ChecksumIgnore, "IP and TCP checksums: ignore them, count the bad ones, or drop packets that have one")
	flags.BoolVar(&f.decode.Scoped, "by-network", false, "tell connections apart by VLAN, VXLAN, Geneve and GRE network too, for networks that share addresses")
	flags.StringVar(&f.logFormat, "log-format", "text", "format of log lines: text or json")
}

// pipeline takes the frames of one source to the output.
type pipeline struct {
	name   string
	live   *source.RPCAP // nil for a file
	engine *engine.Engine
	out    *output
}

func newPipeline(name string, flags *recordFlags, out *output) *pipeline {
	return &pipeline{
		name: name,
		out:  out,
		engine: engine.New(engine.Config{Decode: flags.decode, Exchange: exchange.Config{
			Source:      name,
			BodyLimit:   flags.bodyLimit,
			MaskHeaders: append(exchange.DefaultMaskHeaders(), flags.mask...),
			Emit:        out.Emit,
		}}),
	}
}

// Frame implements source.Sink.
func (p *pipeline) Frame(f *capture.Frame) { p.engine.Frame(f) }

// Drained implements source.Sink.
func (p *pipeline) Drained() { p.engine.Drained(); p.out.Flush() }

// Idle implements source.Sink.
func (p *pipeline) Idle(d time.Duration) { p.engine.Idle(d); p.out.Flush() }

// Lost implements source.Sink.
func (p *pipeline) Lost() { p.engine.SourceLost(); p.out.Flush() }

// finish ends the pipeline after its source.
func (p *pipeline) finish() { p.engine.Finish(); p.out.Flush() }

func (p *pipeline) ledger() ledger.Ledger {
	l := ledger.Ledger{Name: p.name, Engine: p.engine.Snapshot()}
	if p.live != nil {
		l.Live, l.Source = true, p.live.Counters()
	}
	return l
}
