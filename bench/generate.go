package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"capstan/bench/internal/traffic"
	"capstan/bench/internal/wire"
)

// generateFlags are the flags of "bench generate".
type generateFlags struct {
	ifname, file string
	netnsPID     int
	json         bool
	size, kind   string
	vlan         []uint
	rate         float64
	burst        int
	duration     time.Duration
	queue        bool
	plan         traffic.Plan
}

func generateCommand(stdout, stderr io.Writer) *cobra.Command {
	var f generateFlags
	cmd := &cobra.Command{
		Use:   "generate -i INTERFACE|-w FILE",
		Short: "Send generated frames, or write them to a capture file",
		Long: `Sends frames that a plan and a seed determine, at a rate or flat out, and says
what was really sent; or writes them to a pcapng file, where times follow the
rate. Conversations (http1, http2, grpc) are whole TCP connections: at the end
of --count frames or --duration those that are open are still finished.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), stdout, stderr)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.ifname, "interface", "i", "", "send into this interface")
	flags.StringVarP(&f.file, "write", "w", "", "write a capture file, - for stdout")
	flags.IntVar(&f.netnsPID, "netns-pid", 0, "the interface is in the network namespace of this process")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON")
	flags.Float64Var(&f.rate, "rate", 0, "frames per second; 0 = flat out (in a file: 100,000)")
	flags.IntVar(&f.burst, "burst", 0, "frames sent back to back; 0 = as few as the clock allows")
	flags.DurationVar(&f.duration, "duration", 0, "end after this time")
	flags.BoolVar(&f.queue, "queue", false, "send through the queueing discipline, so that captures on the same interface see the frames")
	flags.StringVar(&f.kind, "kind", "udp", "udp, tcp, http1, http2, grpc or file:PATH for the frames of a capture file")
	flags.StringVar(&f.size, "size", "", "length of a frame without VLAN tag: a number, imix or file:PATH for the lengths in a capture file (default: the kind's least, or 1514 for conversations)")
	flags.UintSliceVar(&f.vlan, "vlan", nil, "802.1Q identifiers that flows take in turn")
	flags.Uint64Var(&f.plan.Count, "count", 0, "end after this many frames")
	flags.IntVar(&f.plan.Flows, "flows", 0, "flows that take turns, or connections open at the same time (default 1)")
	flags.Uint64Var(&f.plan.Seed, "seed", 0, "the same seed gives the same frames")
	flags.BoolVar(&f.plan.IPv6, "ipv6", false, "IPv6 instead of IPv4")
	flags.Uint64Var(&f.plan.Connections, "connections", 0, "end after this many conversations")
	flags.IntVar(&f.plan.Exchanges, "exchanges", 0, "exchanges per connection (default 10)")
	flags.IntVar(&f.plan.RequestLen, "request-len", 0, "bytes of a request's body")
	flags.IntVar(&f.plan.ResponseLen, "response-len", 0, "bytes of a response's body")
	flags.IntVar(&f.plan.Streams, "streams", 0, "streams at once in a connection of http2 or grpc (default 4)")
	cmd.MarkFlagsOneRequired("interface", "write")
	cmd.MarkFlagsMutuallyExclusive("interface", "write")
	return cmd
}

func (f *generateFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	if err := f.complete(); err != nil {
		return err
	}
	g, err := traffic.New(f.plan)
	if err != nil {
		return err
	}
	report := wire.Report{Plan: g.Plan(), Interface: f.ifname, File: f.file}
	said := stdout
	if f.file != "" {
		if f.file == "-" {
			said = stderr
		}
		err = f.write(ctx, g, stdout)
	} else {
		var result wire.Result
		result, err = f.send(ctx, g)
		report.Result = &result
	}
	if err != nil {
		return err
	}
	report.Generated = g.Counts()
	if f.json {
		return json.NewEncoder(said).Encode(report)
	}
	_, err = io.WriteString(said, describe(&report))
	return err
}

// vlanIDs makes identifiers of numbers; one that is too large stays so.
func vlanIDs(numbers []uint) (list []uint16) {
	for _, n := range numbers {
		list = append(list, uint16(min(n, 1<<16-1)))
	}
	return list
}

// complete moves what flags spell differently into the plan.
func (f *generateFlags) complete() (err error) {
	if path, ok := strings.CutPrefix(f.kind, "file:"); ok {
		f.plan.Kind, f.plan.File = traffic.File, path
	} else if f.plan.Kind, err = traffic.ParseKind(f.kind); err != nil {
		return err
	}
	f.plan.VLAN = vlanIDs(f.vlan)
	if f.plan.Size, err = traffic.ParseSize(f.size); err != nil {
		return err
	}
	switch {
	case f.netnsPID < 0:
		return fmt.Errorf("process %d", f.netnsPID)
	case f.file != "" && (f.netnsPID != 0 || f.queue):
		return errors.New("--netns-pid and --queue are about interfaces, not files")
	case f.file != "" && f.plan.Count == 0 && f.plan.Connections == 0 && f.duration == 0:
		return errors.New("a file needs an end: --count, --connections or --duration")
	}
	return nil
}

// send sends on a thread of its own, in the namespace that was asked for.
func (f *generateFlags) send(ctx context.Context, g *traffic.Generator) (result wire.Result, err error) {
	send := func() error {
		iface, err := net.InterfaceByName(f.ifname)
		if err != nil {
			return fmt.Errorf("interface %s: %w", f.ifname, err)
		}
		result, err = wire.Send(ctx, g, wire.Config{
			Interface: iface.Index, Rate: f.rate, Burst: f.burst, Duration: f.duration, Queue: f.queue,
		})
		return err
	}
	if f.netnsPID != 0 {
		err = wire.InNetNSOf(f.netnsPID, send)
		return result, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = send()
	return result, err
}

func (f *generateFlags) write(ctx context.Context, g *traffic.Generator, stdout io.Writer) (err error) {
	config := wire.FileConfig{Rate: f.rate, Burst: f.burst, Duration: f.duration}
	if f.file == "-" {
		return wire.WriteFile(ctx, stdout, g, config)
	}
	file, err := os.Create(f.file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return wire.WriteFile(ctx, file, g, config)
}

// describe tells a person what was sent.
func describe(r *wire.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "generated %d frames, %d bytes", r.Generated.Frames, r.Generated.Bytes)
	if r.Plan.Kind.Conversation() {
		fmt.Fprintf(&b, ": %d connections of %v with %d exchanges", r.Generated.Connections, r.Plan.Kind, r.Generated.Exchanges)
	}
	b.WriteByte('\n')
	if s := r.Result; s != nil {
		fmt.Fprintf(&b, "sent      %d frames, %d bytes in %.3f s: %.0f frames/s, %.1f Mbit/s\n",
			s.Frames, s.Bytes, s.Elapsed.Seconds(), s.Rate, s.BitRate()/1e6)
		fmt.Fprintf(&b, "%-9s %d dropped by the interface, %d sent again, schedule put off by %v\n",
			r.Interface, s.Interface.Dropped, s.Retries, s.Behind.Round(time.Microsecond))
	}
	return b.String()
}
