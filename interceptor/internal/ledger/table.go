package ledger

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/engine"
	"capstan/interceptor/internal/figures"
	"capstan/interceptor/internal/sink/text"
	"capstan/interceptor/internal/source"
)

// WriteTable prints the whole account: a block for each source, then the
// output, then any equation that does not hold. Lines of zeros that tell
// nothing are left out, losses never are.
func WriteTable(to io.Writer, ledgers []Ledger, out Output) {
	w := new(bytes.Buffer) // one write, so that no other process's lines come between
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	for i := range ledgers {
		fmt.Fprintf(w, "\n%s\n", text.Safe(ledgers[i].Name))
		ledgers[i].entries().write(tw, ledgers[i].Source.Outages)
		_ = tw.Flush() // a buffer takes everything
	}
	fmt.Fprintf(w, "\nrecords written: %s (%s)", figures.Count(out.Emitted), figures.Size(out.Bytes))
	if out.Failed > 0 {
		fmt.Fprintf(w, ", not written: %s", figures.Count(out.Failed))
	}
	fmt.Fprintln(w)
	outputLine(w, &out)
	for i := range out.Sinks {
		sinkLine(w, &out.Sinks[i])
	}
	for i := range ledgers {
		for _, bad := range ledgers[i].Check() {
			fmt.Fprintf(w, "%s: the account does not balance: %s: %d ≠ %d\n", text.Safe(ledgers[i].Name), bad.Equation, bad.Left, bad.Right)
		}
	}
	for _, bad := range out.Check(ledgers) {
		fmt.Fprintf(w, "the account does not balance: %s: %d ≠ %d\n", bad.Equation, bad.Left, bad.Right)
	}
	_, _ = to.Write(w.Bytes()) // standard error is gone: nobody is left to be told
}

// outputLine tells what does not leave, if there is such.
func outputLine(w io.Writer, out *Output) {
	for _, part := range []struct {
		n    uint64
		text string
	}{
		{out.Own, "records of what the sinks send: left out"}, {out.Denied, "records denied by rules"}, {out.BodiesOmitted, "bodies left out by their types"},
	} {
		if part.n > 0 {
			fmt.Fprintf(w, "%s: %s\n", part.text, figures.Count(part.n))
		}
	}
}

// sinkLine tells what became of a sink's records.
func sinkLine(w io.Writer, s *delivery.SinkStats) {
	fmt.Fprintf(w, "sink %s: %s records, %s delivered", s.Name, figures.Count(s.Accepted+s.Recovered), figures.Count(s.Delivered))
	for _, part := range []struct {
		n    uint64
		text string
	}{
		{s.Recovered, "of them from before the start"}, {s.Dropped, "dropped"}, {s.Shed, "dropped for lack of memory"}, {s.Rejected, "rejected"}, {s.SpoolFull, "dropped since the spool was full"},
		{s.SpoolLost, "lost in a damaged spool"}, {s.Queued, "waiting"}, {s.Spooled, "kept on disk"},
	} {
		if part.n > 0 {
			fmt.Fprintf(w, ", %s %s", figures.Count(part.n), part.text)
		}
	}
	if fmt.Fprintln(w); !s.Balanced() {
		fmt.Fprintf(w, "sink %s: the account does not balance: %+v\n", s.Name, s.Stats)
	}
}

// write writes lines of a number and what it counts. Zeros that tell nothing are
// left out.
func (e entries) write(w io.Writer, outages []source.Outage) {
	for _, entry := range e {
		if entry.quiet && entry.Value == 0 {
			continue
		}
		fmt.Fprintf(w, "%s\t  %s%s\n", figures.Count(entry.Value), strings.Repeat("  ", entry.Level), entry.Text)
		if entry.Key == keyOutages {
			writeOutages(w, outages)
		}
	}
}

func writeOutages(w io.Writer, outages []source.Outage) {
	for _, o := range outages {
		to := "still out"
		if !o.To.IsZero() {
			to = fmt.Sprintf("to %s (%v)", o.To.Format(time.RFC3339Nano), o.To.Sub(o.From).Round(time.Millisecond))
		}
		fmt.Fprintf(w, "\t    outage from %s %s\n", o.From.Format(time.RFC3339Nano), to)
	}
}

// StatusLine tells in one line how things stand, and why nothing shows if
// nothing does.
func StatusLine(ledgers []Ledger, out Output) string {
	var t totals
	for i := range ledgers {
		t.add(&ledgers[i])
	}
	active := &t.active
	var b strings.Builder
	fmt.Fprintf(&b, "status: %s frames, %s lost; connections open: %s HTTP/1, %s encrypted, %s HTTP/2, %s unknown, %s undecided; %s not captured; %s exchanges",
		figures.Count(t.frames), figures.Count(t.lost), figures.Count(active[engine.HTTP1]), figures.Count(active[engine.TLS]), figures.Count(active[engine.HTTP2]),
		figures.Count(active[engine.Unknown]), figures.Count(active[engine.Undecided]), figures.Size(t.gaps), figures.Count(out.Passed))
	for i := range out.Sinks {
		if s := &out.Sinks[i]; s.Failing || s.Lost() > 0 {
			fmt.Fprintf(&b, "; sink %s: %s", s.Name, sinkState(s))
		}
	}
	if reason := t.silence(len(ledgers), out); reason != "" {
		fmt.Fprintf(&b, " (%s)", reason)
	}
	return b.String()
}

// totals are the sums over all sources that the status line tells.
type totals struct {
	frames, lost, gaps   uint64
	active, ever         [engine.NumProtocols]uint64 // connections, by what they carry
	disconnected, silent int                         // sources
}

func (t *totals) add(l *Ledger) {
	t.frames += l.Engine.Frames
	t.lost += l.Source.ServerDropped + l.Source.ServerInterfaceDropped + l.Source.Missing
	t.gaps += l.Engine.Reassembly.GapBytes
	for p, s := range l.Engine.Protocols {
		t.active[p] += s.Active
		t.ever[p] += s.Connections
	}
	if l.Live && !l.Source.Connected {
		t.disconnected++
	}
	if l.Source.Silent {
		t.silent++
	}
}

// silence tells why nothing shows, or may not for long; empty if nothing is wrong.
func (t *totals) silence(sources int, out Output) string {
	switch {
	case t.disconnected > 0:
		return fmt.Sprintf("%d of %d sources lost", t.disconnected, sources)
	case t.silent > 0:
		return fmt.Sprintf("%d of %d servers don't answer", t.silent, sources)
	case out.Passed > 0:
		return ""
	case t.frames == 0:
		return "no frame has arrived: is there traffic on the device?"
	case t.ever[engine.HTTP1] > 0 || t.ever[engine.HTTP2] > 0:
		return ""
	case t.ever[engine.TLS] > 0:
		return "no plain HTTP so far: what there is, is encrypted"
	}
	return "no plain HTTP so far"
}

// sinkState tells what is wrong with a sink.
func sinkState(s *delivery.SinkStats) string {
	state := fmt.Sprintf("%s waiting, %s lost", figures.Count(s.Queued+s.Spooled), figures.Count(s.Lost()))
	if s.Failing {
		state = "fails, " + state
	}
	return state
}
