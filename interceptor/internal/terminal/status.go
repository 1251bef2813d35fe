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

	"capstan/interceptor/internal/figures"
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
	fmt.Fprintf(out, "%s records%s, %d watchers\n", figures.Count(now.GetExchanges()), rate(before.GetExchanges(), now.GetExchanges()), now.GetWatchers())
	fmt.Fprintf(out, "memory: %s in use%s; %s of payload wait for bytes before them\n",
		figures.Size(now.GetMemoryBytes()), limit(now.GetMemoryLimitBytes(), figures.Size), figures.Size(now.GetWaitingBytes()))
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
	fmt.Fprintf(out, "  %s frames%s, %s; %s lost\n", figures.Count(s.GetFrames()), rate(was.GetFrames(), s.GetFrames()), figures.Size(s.GetBytes()), figures.Count(s.GetLostFrames()))
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
	fmt.Fprintf(out, "  connections open: %s\n", listed(s.GetConnections(), figures.Count))
	fmt.Fprintf(out, "  not read: %s\n", listed(s.GetUnreadBytes(), figures.Size))
}

func writeSinks(out io.Writer, sinks []*capstanv1.SinkStatus) {
	if len(sinks) == 0 {
		return
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "SINK\tKIND\tPOLICY\tSTATE\tACCEPTED\tDELIVERED\tDROPPED\tREJECTED\tIN MEMORY\tON DISK\tRETRIES")
	for _, s := range sinks {
		state := "works"
		if s.GetFailing() {
			state = "fails"
		}
		disk := "-"
		if n := s.GetSpoolLimitBytes(); n > 0 {
			disk = figures.Count(s.GetSpooled()) + ", " + figures.Size(s.GetSpoolBytes()) + limit(n, figures.Size)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", text.Safe(s.GetName()), text.Safe(s.GetKind()), text.Safe(s.GetPolicy()), state,
			figures.Count(s.GetAccepted()+s.GetRecovered()), figures.Count(s.GetDelivered()), figures.Count(s.GetDropped()+s.GetSpoolFull()+s.GetSpoolLost()),
			figures.Count(s.GetRejected()), figures.Count(s.GetQueued())+limit(s.GetQueueLimit(), figures.Count), disk, figures.Count(s.GetRetries()))
	}
	_ = w.Flush() // out's errors are told by nobody here
}

// limit writes what bounds a number before it, if something does.
func limit(n uint64, write func(uint64) string) string {
	if n == 0 {
		return ""
	}
	return " of " + write(n)
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
				fmt.Fprintf(w, "%s\t  %s%s\n", figures.Count(e.GetValue()), strings.Repeat("  ", int(min(e.GetLevel(), 8))), text.Safe(e.GetText()))
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
