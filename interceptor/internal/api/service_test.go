package api

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"capstan/interceptor/internal/source"
	"capstan/interceptor/internal/watch"
	capstanv1 "capstan/proto/capstan/v1"
)

func TestStatus(t *testing.T) {
	r := newRig(t, watch.Config{}, Roles{})
	r.push(t, exchange(1, nil))
	r.source.settings = source.Settings{Device: "any?dir=in&flows=1/8", Filter: "tcp"}
	s, err := r.client(t).GetStatus(testContext(t), &capstanv1.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	src := s.GetSources()[0]
	if !s.GetReady() || s.GetExchanges() != 1 || s.GetVersion() != "v1" || len(s.GetSinks()) != 1 ||
		!src.GetCapturing() || src.GetFrames() != 10 || src.GetLostFrames() != 3 || src.GetConnections()["tls"] != 1 ||
		src.GetUnreadBytes()["encrypted"] != 400 || src.GetUnreadBytes()["never captured"] != 9 || len(src.GetUnreadBytes()) != 2 {
		t.Errorf("%v", s)
	}
	sink := s.GetSinks()[0]
	if sink.GetKind() != "file" || sink.GetPolicy() != "spool" || sink.GetQueued() != 2 || sink.GetQueueLimit() != 100 || sink.GetQueuedBytes() != 20 ||
		sink.GetQueueLimitBytes() != 1000 || sink.GetSpoolLimitBytes() != 5000 {
		t.Errorf("%v", sink)
	}
	runtime.GC() // the memory in use is that of the last collection
	if s, err = r.client(t).GetStatus(testContext(t), &capstanv1.GetStatusRequest{}); err != nil || s.GetMemoryBytes() < 100_000 || s.GetMemoryLimitBytes() != 1<<40 || s.GetWaitingBytes() != 7 {
		t.Errorf("%v, %v", s, err)
	}
	if c := src.GetSettings(); c.GetDevice() != "any?dir=in" || c.GetOneInFlows() != 8 || c.GetFilter() != "tcp" {
		t.Errorf("%v", c)
	}
}

func TestLedger(t *testing.T) {
	r := newRig(t, watch.Config{}, Roles{})
	l, err := r.client(t).GetLedger(testContext(t), &capstanv1.GetLedgerRequest{})
	if err != nil {
		t.Fatal(err)
	}
	a := l.GetAccounts()[0]
	if l.GetBalanced() || len(a.GetImbalances()) == 0 || len(a.GetOutages()) != 1 || a.GetOutages()[0].GetReason() != "gone" {
		t.Errorf("%v", l)
	}
	seen := map[string]bool{}
	for _, account := range l.GetAccounts() {
		for _, e := range account.GetEntries() {
			if key := account.GetName() + e.GetKey(); seen[key] || strings.ContainsAny(e.GetKey(), " %") || e.GetUnit() == "" || e.GetText() == "" {
				t.Errorf("%v: twice, or not stable", e)
			} else {
				seen[key] = true
			}
		}
	}
	if !slices.ContainsFunc(a.GetEntries(), func(e *capstanv1.Entry) bool { return e.GetKey() == "frames.arrived" && e.GetValue() == 10 }) {
		t.Errorf("%v", a)
	}
}

func TestInterfaces(t *testing.T) {
	r := newRig(t, watch.Config{}, Roles{})
	c := r.client(t)
	got, err := c.ListInterfaces(testContext(t), &capstanv1.ListInterfacesRequest{Source: sourceName})
	if err != nil {
		t.Fatal(err)
	}
	i := got.GetSources()[0].GetInterfaces()[0]
	if i.GetName() != "eth0\ufffd" || !i.GetUp() || i.GetLoopback() || !slices.Equal(i.GetAddresses(), []string{"10.0.0.1"}) {
		t.Errorf("%v", i)
	}
	if _, err := c.ListInterfaces(testContext(t), &capstanv1.ListInterfacesRequest{Source: "x"}); status.Code(err) != codes.NotFound {
		t.Errorf("%v", err)
	}
	r.source.err = errors.New("gone")
	got, err = c.ListInterfaces(testContext(t), &capstanv1.ListInterfacesRequest{})
	if err != nil || got.GetSources()[0].GetProblem() != "gone" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestSetCapture(t *testing.T) {
	r := newRig(t, watch.Config{}, Roles{})
	c := r.client(t)
	set := func(s *capstanv1.CaptureSettings) (*capstanv1.SetCaptureResponse, error) {
		return c.SetCapture(testContext(t), &capstanv1.SetCaptureRequest{Settings: s})
	}
	got, err := set(&capstanv1.CaptureSettings{Device: "eth0", Filter: "port 80"})
	if err != nil || got.GetInterruption() != nil || r.source.Settings() != (source.Settings{Device: "eth0", Filter: "port 80"}) {
		t.Errorf("%v, %v", got, err)
	}
	got, err = set(&capstanv1.CaptureSettings{Device: "eth0?dir=in", OneInFlows: 4})
	if err != nil || got.GetInterruption().AsDuration() == 0 || got.GetSettings().GetOneInFlows() != 4 ||
		r.source.Settings().Device != "eth0?dir=in&flows=1/4" {
		t.Errorf("%v, %v, %v", got, err, r.source.Settings())
	}
	for _, bad := range []*capstanv1.CaptureSettings{
		nil, {Filter: "tcp"}, {Device: "eth0?colour=red"}, {Device: "eth0?flows=1/3", OneInFlows: 2}, {Device: "eth0", OneInFlows: 1 << 30},
		{Device: "eth0", Filter: strings.Repeat("tcp or ", 1000) + "udp"},
	} {
		if _, err := set(bad); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", bad, err)
		}
	}
	for _, tc := range []struct {
		err  error
		code codes.Code
	}{{source.ErrNotCapturing, codes.Unavailable}, {&source.SettingsError{Err: errors.New("bad")}, codes.InvalidArgument}} {
		r.source.err = tc.err
		if _, err := set(&capstanv1.CaptureSettings{Device: "eth0"}); status.Code(err) != tc.code || !strings.Contains(err.Error(), tc.err.Error()) {
			t.Errorf("%v", err)
		}
	}
	lines := r.log.events(t, "capture set")
	if len(lines) != 4 || lines[0]["source"] != sourceName || lines[0]["to"].(map[string]any)["filter"] != "port 80" ||
		lines[1]["interruption_seconds"].(float64) == 0 || lines[2]["err"] == nil {
		t.Errorf("%v", lines)
	}
}
