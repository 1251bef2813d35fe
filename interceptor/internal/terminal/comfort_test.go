package terminal

import (
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	capstanv1 "capstan/proto/capstan/v1"
)

// TestNeighbours: a record in full has the others beside it.
func TestNeighbours(t *testing.T) {
	m, _ := newScreen(3)
	press(m, "home", "l")
	want(t, m, "id-0")
	press(m, "l", "l", "l")
	want(t, m, "id-2", "!id-1")
	press(m, "h")
	want(t, m, "id-1")
	press(m, "h", "h", "esc")
	want(t, m, "/item/0", "/item/2")
	if m.cursor != 0 {
		t.Error(m.cursor)
	}
	press(m, "h") // is nothing in the list
	want(t, m, "/item/0")
}

// TestFilterEndsPause: who asks for something else wants to see it.
func TestFilterEndsPause(t *testing.T) {
	m, s := newScreen(3)
	press(m, "p", "f", "x", "enter")
	s.records = []*capstanv1.Exchange{record(7)}
	m.Update(drawMsg{})
	want(t, m, "/item/7", "!PAUSED", "1 records")
}

// TestCutLinesTellTheResult: what one looks for stands before what may be long.
func TestCutLinesTellTheResult(t *testing.T) {
	m, s := newScreen(0)
	m.Update(tea.WindowSizeMsg{Width: 60, Height: 10})
	x := record(1)
	x.Request.Target = "/" + strings.Repeat("long", 100)
	x.Response.Status, x.DurationNs, x.Flaws = 503, 12_340_000, []capstanv1.Flaw{capstanv1.Flaw_FLAW_GAP}
	x.Grpc = &capstanv1.Grpc{StatusKnown: true, Status: 14}
	s.records = []*capstanv1.Exchange{x}
	m.Update(drawMsg{})
	want(t, m, "503/14 ! 12.34ms GET http://shop/long")
}

// TestProxiedInFull tells what a proxy said.
func TestProxiedInFull(t *testing.T) {
	x := record(1)
	x.Proxied = &capstanv1.Proxied{Version: 2, Destination: &capstanv1.Endpoint{Address: "192.0.2.7", Port: 51237}}
	x.ProxiedFurther = []*capstanv1.Proxied{{Version: 1, Source: &capstanv1.Endpoint{Address: "192.0.2.8", Port: 1}}}
	var all strings.Builder
	for _, l := range detail(x) {
		all.WriteString(l.text + "\n")
	}
	if s := all.String(); !strings.Contains(s, "── PROXY protocol ──") || !strings.Contains(s, "192.0.2.7") ||
		!strings.Contains(s, "── PROXY protocol, further ──") || !strings.Contains(s, "192.0.2.8") {
		t.Errorf("told\n%s", s)
	}
}

// TestSocksInFull tells what SOCKS proxies were asked for.
func TestSocksInFull(t *testing.T) {
	x := record(1)
	x.Socks = &capstanv1.Socks{Version: 5, Command: 1, Target: "inner.example:80", Replied: true, Outer: &capstanv1.Socks{Version: 4, Target: "192.0.2.7:1"}}
	var all strings.Builder
	for _, l := range detail(x) {
		all.WriteString(l.text + "\n")
	}
	if s := all.String(); !strings.Contains(s, "── SOCKS ──") || !strings.Contains(s, "inner.example:80") || !strings.Contains(s, "192.0.2.7:1") {
		t.Errorf("told\n%s", s)
	}
}

// TestGRPCInWords tells a status of 0, too, which JSON leaves out.
func TestGRPCInWords(t *testing.T) {
	x := record(1)
	x.Grpc = &capstanv1.Grpc{Service: "shop.Shop", Method: "Buy", StatusKnown: true, TimeoutNs: 2e9, RequestMessages: &capstanv1.GrpcMessages{Count: 1, Bytes: 40},
		ResponseMessages: &capstanv1.GrpcMessages{Count: 1200, Bytes: 4096, Compressed: 7, Incomplete: true}, ResponseEncoding: "gzip"}
	var all strings.Builder
	for _, l := range detail(x) {
		all.WriteString(l.text + "\n")
	}
	for _, want := range []string{
		"── gRPC ──", "service    shop.Shop", "status     0 OK", "deadline   2s", "sent       1 message, 40 B",
		"received   1,200 messages, 4.0 KiB, 7 of them compressed by gzip, and what could not be followed",
	} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("want %q in\n%s", want, all.String())
		}
	}
	x.Grpc.StatusKnown = false
	if lines := detail(x); !strings.Contains(lines[len(lines)-4].text, "not seen") {
		t.Errorf("%v", lines)
	}
}
