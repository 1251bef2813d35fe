package terminal

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"capstan/pkg/leaktest"
	capstanv1 "capstan/proto/capstan/v1"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// script is a source that yields what a test puts into it.
type script struct {
	update
	started []string
}

func (s *script) next() update {
	u := s.update
	s.update = update{}
	return u
}

func (s *script) start(filter string) { s.started = append(s.started, filter) }

func record(n int) *capstanv1.Exchange {
	return &capstanv1.Exchange{
		Id: fmt.Sprintf("id-%d", n), Complete: true, Client: &capstanv1.Endpoint{Address: "10.0.0.2", Port: 4711}, Server: &capstanv1.Endpoint{Address: "10.0.0.1", Port: 80},
		Request: &capstanv1.HttpRequest{Method: "GET", Target: fmt.Sprintf("/item/%d", n), Authority: "shop", Version: "HTTP/1.1",
			Headers: []*capstanv1.Header{{Name: "X-Number", Value: fmt.Sprint(n)}}},
		Response: &capstanv1.HttpResponse{Status: 200, Reason: "OK", Version: "HTTP/1.1", Body: &capstanv1.Body{Size: 9, Content: []byte(`{"a":[1]}`)}},
	}
}

func newScreen(records int) (*model, *script) {
	s := &script{}
	m := newModel(s, "test", "")
	m.Init()
	m.Update(tea.WindowSizeMsg{Width: 100, Height: 13})
	for n := range records {
		s.records = append(s.records, record(n))
	}
	m.Update(drawMsg{})
	return m, s
}

// press types keys: names of some, or text.
func press(m *model, keys ...string) (quit bool) {
	named := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown, "pgup": tea.KeyPgUp,
		"pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd, "backspace": tea.KeyBackspace, "space": tea.KeySpace}
	for _, k := range keys {
		if code, ok := named[k]; ok {
			_, cmd := m.Update(tea.KeyPressMsg{Code: code})
			quit = cmd != nil
			continue
		}
		for _, r := range k {
			_, cmd := m.Update(tea.KeyPressMsg{Code: r, Text: string(r)})
			quit = cmd != nil
		}
	}
	return quit
}

// screen returns what is seen, without colours.
func screen(t *testing.T, m *model) string {
	t.Helper()
	lines := m.draw()
	if len(lines) != m.height {
		t.Errorf("%d lines on a screen of %d", len(lines), m.height)
	}
	for _, l := range lines {
		if n := ansi.StringWidth(l); n > m.width {
			t.Errorf("%d columns on a screen of %d: %q", n, m.width, l)
		}
	}
	return ansi.Strip(strings.Join(lines, "\n"))
}

func want(t *testing.T, m *model, texts ...string) {
	t.Helper()
	s := screen(t, m)
	for _, text := range texts {
		not, absent := strings.CutPrefix(text, "!")
		if strings.Contains(s, not) == absent {
			t.Errorf("want %q in\n%s", text, s)
		}
	}
}

func TestListFollowsAndMoves(t *testing.T) {
	m, _ := newScreen(0)
	want(t, m, "No records so far", "q quit")
	m, s := newScreen(30)
	want(t, m, "/item/29", "/item/20", "!/item/19 ", "30 records")
	press(m, "up", "up")
	s.records = []*capstanv1.Exchange{record(30)}
	m.Update(drawMsg{})
	if m.cursor != 27 {
		t.Errorf("the cursor went from its record to %d", m.cursor)
	}
	press(m, "home")
	want(t, m, "/item/0 ", "!/item/30")
	press(m, "pgdown", "down")
	if m.cursor != m.page()+1 {
		t.Error(m.cursor)
	}
	press(m, "G")
	want(t, m, "/item/30")
	s.records = []*capstanv1.Exchange{record(31)}
	m.Update(drawMsg{})
	want(t, m, "/item/31")
}

func TestOneInFull(t *testing.T) {
	m, _ := newScreen(3)
	m.Update(tea.WindowSizeMsg{Width: 100, Height: 40})
	press(m, "up", "enter")
	want(t, m, "GET http://shop/item/1 HTTP/1.1", "X-Number: 1", "200 OK", "  \"a\": [", "body: 9 bytes", "esc back")
	m.Update(tea.WindowSizeMsg{Width: 100, Height: 10})
	press(m, "end")
	want(t, m, "]")
	press(m, "esc")
	want(t, m, "/item/2")
}

// TestLongLines: they are wrapped, so that their end is to be seen.
func TestLongLines(t *testing.T) {
	m, s := newScreen(0)
	x := record(1)
	x.Response.Body.Content = []byte(strings.Repeat("word ", 60) + "end")
	s.records = []*capstanv1.Exchange{x}
	m.Update(drawMsg{})
	press(m, "enter", "end")
	want(t, m, "\nend")
	m.Update(tea.WindowSizeMsg{Width: 30, Height: 12})
	press(m, "end")
	want(t, m, "\nend")
}

func TestPause(t *testing.T) {
	m, s := newScreen(2)
	press(m, "p")
	for n := range maxShown + 7 {
		s.records = append(s.records, record(n+2))
	}
	m.Update(drawMsg{})
	want(t, m, "PAUSED, 5000 waiting", "!/item/2 ", "7 records came too fast")
	press(m, "space")
	want(t, m, "!PAUSED", fmt.Sprintf("/item/%d", maxShown+8))
	if len(m.records) != maxShown {
		t.Errorf("%d records kept", len(m.records))
	}
}

func TestFilter(t *testing.T) {
	m, s := newScreen(2)
	press(m, "f", "exchangf", "backspace", "e.complete", "enter")
	if len(s.started) != 2 || s.started[1] != "exchange.complete" {
		t.Errorf("%q", s.started)
	}
	want(t, m, "filter: exchange.complete", "No records so far")
	s.refused = errors.New("filter: line 1, column 3: no\x1b[2J")
	m.Update(drawMsg{})
	want(t, m, "column 3")
	press(m, "f", "x", "esc")
	if len(s.started) != 2 {
		t.Error("a cancelled prompt filters")
	}
	s.failed, s.failReason, s.skipped = 3, "no such key", 5
	m.Update(drawMsg{})
	want(t, m, "no answer for 3 records, which are left out: no such key")
}

func TestSearch(t *testing.T) {
	m, _ := newScreen(40)
	press(m, "home", "/", "X-NUMBER: 17", "enter")
	if m.cursor != 17 {
		t.Errorf("found at %d", m.cursor)
	}
	press(m, "n")
	want(t, m, "not found: X-NUMBER: 17")
	press(m, "enter", "/", "ok", "enter")
	if m.mode != detailMode {
		t.Error("a search in a record leaves it")
	}
	want(t, m, "200 OK")
}

func TestQuit(t *testing.T) {
	m, _ := newScreen(1)
	press(m, "?")
	want(t, m, "Keys")
	if press(m, "q") || press(m, "enter", "q") || !press(m, "q") {
		t.Error("q means something else")
	}
	if _, cmd := m.Update(tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}); cmd == nil {
		t.Error("ctrl+c doesn't end it")
	}
}

func TestSmallScreens(t *testing.T) {
	m, _ := newScreen(30)
	for _, size := range [][2]int{{1, 1}, {5, 2}, {20, 3}, {200, 4}, {40, 100}} {
		m.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		for _, keys := range []string{"", "enter", "?", "f", "esc"} {
			press(m, keys)
			screen(t, m)
		}
	}
}

// hostile has control sequences wherever text was captured.
func hostile(s string) *capstanv1.Exchange {
	h := []*capstanv1.Header{{Name: s, Value: s}}
	b := &capstanv1.Body{Size: uint64(len(s)), Content: []byte(s)}
	return &capstanv1.Exchange{
		Id: s, Source: s, Request: &capstanv1.HttpRequest{Method: s, Target: "/" + s, Authority: s, Version: s, Headers: h, Trailers: h, Body: b},
		Response:  &capstanv1.HttpResponse{Status: 200, Reason: s, Version: s, Headers: h, Body: b},
		Grpc:      &capstanv1.Grpc{Service: s, StatusMessage: s},
		Websocket: &capstanv1.WebSocket{Messages: []*capstanv1.WebSocketMessage{{Content: []byte(s)}}},
	}
}

// checkHarmless looks for what could drive a terminal but for our own colours.
func checkHarmless(t *testing.T, lines []string) {
	t.Helper()
	for _, l := range lines {
		for _, sgr := range []string{reset, bold, dim, reverse, red, yellow, cyan, "\x1b[32m"} {
			l = strings.ReplaceAll(l, sgr, "")
		}
		if strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e' }) || !utf8.ValidString(l) {
			t.Fatalf("%q", l)
		}
	}
}

// FuzzScreen: whatever was captured, it can't drive the terminal, and every line
// fits.
func FuzzScreen(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[2J\x1b]0;t\a", "\x9b31m\u009b", "a\r\nb\tc", "\u202eabc", "\xff\xfe", "漢字\u0301", `{"a":"\u001b[2J\\"}`, "\x00\x01\x02"} {
		f.Add(s, 40)
	}
	f.Fuzz(func(t *testing.T, s string, width int) {
		m, feed := newScreen(0)
		m.Update(tea.WindowSizeMsg{Width: min(max(width, 1), 300), Height: 200})
		feed.records = []*capstanv1.Exchange{hostile(s)}
		feed.failReason, feed.failed, feed.problem = s, 1, s
		m.Update(drawMsg{})
		for _, keys := range []string{"", "enter", "/"} {
			press(m, keys)
			screen(t, m)
			checkHarmless(t, m.draw())
		}
	})
}
