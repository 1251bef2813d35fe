package terminal

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"capstan/interceptor/internal/sink/text"
	capstanv1 "capstan/proto/capstan/v1"
)

// Status writes what the interceptor is doing. Rates are over interval, for which
// it waits; 0 leaves them out.
func Status(ctx context.Context, c capstanv1.InterceptorClient, interval time.Duration, out io.Writer) error {
	before, err := c.GetStatus(ctx, &capstanv1.GetStatusRequest{})
	if err != nil {
		return err
	}
	began, now := time.Now(), before
	if interval > 0 {
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return ctx.Err()
		}
		if now, err = c.GetStatus(ctx, &capstanv1.GetStatusRequest{}); err != nil {
			return err
		}
	}
	writeStatus(out, before, now, time.Since(began))
	return nil
}

// StatusJSON writes GetStatusResponse as its JSON mapping.
func StatusJSON(ctx context.Context, c capstanv1.InterceptorClient, out io.Writer) error {
	m, err := c.GetStatus(ctx, &capstanv1.GetStatusRequest{})
	if err != nil {
		return err
	}
	return writeJSON(out, m)
}

func writeJSON(out io.Writer, m proto.Message) error {
	b, err := protojson.MarshalOptions{Multiline: true, EmitUnpopulated: true}.Marshal(m)
	if err == nil {
		_, err = out.Write(append(b, '\n'))
	}
	return err
}

// writeStatus writes now, and rates since before if that is an earlier answer.
func writeStatus(out io.Writer, before, now *capstanv1.GetStatusResponse, took time.Duration) {
	rate := func(was, is uint64) string {
		if before == now || took <= 0 || is < was {
			return ""
		}
		return fmt.Sprintf(" (%.0f/s)", float64(is-was)/took.Seconds())
	}
	fmt.Fprintf(out, "interceptor %s, up %v\n", text.Safe(now.GetVersion()), time.Since(now.GetStartTime().AsTime()).Round(time.Second))
	if now.GetReady() {
		fmt.Fprintln(out, "ready")
	}
	for _, p := range now.GetProblems() {
		fmt.Fprintln(out, "not ready:", text.Safe(p))
	}
	fmt.Fprintf(out, "%d records%s, %d watchers; %s of payload wait for bytes before them\n",
		now.GetExchanges(), rate(before.GetExchanges(), now.GetExchanges()), now.GetWatchers(), size(now.GetMemoryBytes()))
	for i, s := range now.GetSources() {
		was := s
		if i < len(before.GetSources()) && before.GetSources()[i].GetName() == s.GetName() {
			was = before.GetSources()[i]
		}
		writeSource(out, was, s, rate)
	}
	writeSinks(out, now.GetSinks())
}

func writeSource(out io.Writer, was, s *capstanv1.SourceStatus, rate func(was, is uint64) string) {
	fmt.Fprintf(out, "\n%s\n", text.Safe(s.GetName()))
	state := "capturing"
	if t := s.GetCapturingSince(); t != nil {
		state += " for " + time.Since(t.AsTime()).Round(time.Second).String()
	}
	if !s.GetCapturing() {
		state = "not capturing: " + text.Safe(s.GetProblem())
	}
	fmt.Fprintf(out, "  %s\n", state)
	fmt.Fprintf(out, "  %d frames%s, %s; %d lost\n", s.GetFrames(), rate(was.GetFrames(), s.GetFrames()), size(s.GetBytes()), s.GetLostFrames())
	if c := s.GetSettings(); c != nil {
		fmt.Fprintf(out, "  device %s", text.Safe(c.GetDevice()))
		if c.GetFilter() != "" {
			fmt.Fprintf(out, ", filter %s", text.Safe(c.GetFilter()))
		}
		if n := c.GetOneInFlows(); n > 1 {
			fmt.Fprintf(out, ", one in %d connections", n)
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "  connections open: %s\n", listed(s.GetConnections(), func(n uint64) string { return fmt.Sprint(n) }))
	fmt.Fprintf(out, "  not read: %s\n", listed(s.GetUnreadBytes(), size))
}

func writeSinks(out io.Writer, sinks []*capstanv1.SinkStatus) {
	if len(sinks) == 0 {
		return
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "SINK\tSTATE\tACCEPTED\tDELIVERED\tDROPPED\tREJECTED\tWAITING\tRETRIES")
	for _, s := range sinks {
		state := "works"
		if s.GetFailing() {
			state = "fails"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\n", text.Safe(s.GetName()), state, s.GetAccepted()+s.GetRecovered(), s.GetDelivered(),
			s.GetDropped()+s.GetSpoolFull()+s.GetSpoolLost(), s.GetRejected(), s.GetQueued()+s.GetSpooled(), s.GetRetries())
	}
	_ = w.Flush() // out's errors are told by nobody here
}

// listed writes a map in the order of its keys.
func listed(m map[string]uint64, value func(uint64) string) string {
	var parts []string
	for k, n := range m {
		parts = append(parts, text.Safe(k)+" "+value(n))
	}
	if len(parts) == 0 {
		return "none"
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// size writes a number of bytes in binary units.
func size(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), -1
	for f >= 1024 && unit < 5 {
		f /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTPE"[unit])
}

// Ledger writes the whole account.
func Ledger(ctx context.Context, c capstanv1.InterceptorClient, asJSON bool, out io.Writer) error {
	m, err := c.GetLedger(ctx, &capstanv1.GetLedgerRequest{})
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(out, m)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	for _, a := range m.GetAccounts() {
		fmt.Fprintf(w, "\n%s\n", text.Safe(a.GetName()))
		for _, e := range a.GetEntries() {
			if e.GetValue() > 0 || e.GetLevel() == 0 {
				fmt.Fprintf(w, "%d\t  %s%s\n", e.GetValue(), strings.Repeat("  ", int(min(e.GetLevel(), 8))), text.Safe(e.GetText()))
			}
		}
		for _, o := range a.GetOutages() {
			end := "still out"
			if o.GetEnd() != nil {
				end = "to " + o.GetEnd().AsTime().Format(time.RFC3339Nano)
			}
			fmt.Fprintf(w, "\t  outage from %s %s: %s\n", o.GetStart().AsTime().Format(time.RFC3339Nano), end, text.Safe(o.GetReason()))
		}
		for _, bad := range a.GetImbalances() {
			fmt.Fprintf(w, "the account does not balance: %s\n", text.Safe(bad))
		}
	}
	return w.Flush()
}
