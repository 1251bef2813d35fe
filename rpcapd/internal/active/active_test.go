package active

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"capstan/pkg/leaktest"
	"capstan/rpcapd/internal/config"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// world is what targets do: they refuse, or hold a session for a time.
type world struct {
	mu       sync.Mutex
	refuse   map[string]bool
	dismiss  map[string]bool
	hold     time.Duration
	attempts map[string][]time.Duration // since the start
	start    time.Time
	log      strings.Builder
}

type namedConn struct {
	net.Conn
	host string
}

// run plays a world from 0 until end and returns the seconds of the attempts.
func run(t *testing.T, w *world, end time.Duration, script func(chan<- []config.Target)) map[string][]int {
	t.Helper()
	seconds := make(map[string][]int)
	synctest.Test(t, func(t *testing.T) {
		w.start, w.attempts = time.Now(), make(map[string][]time.Duration)
		d := Dialer{
			Retry: 30 * time.Second,
			Log:   slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Dial: func(_ context.Context, target config.Target) (net.Conn, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.attempts[target.Host] = append(w.attempts[target.Host], time.Since(w.start))
				if w.refuse[target.Host] {
					return nil, errors.New("connection refused")
				}
				return namedConn{host: target.Host}, nil
			},
			Serve: func(ctx context.Context, conn net.Conn) bool {
				wait(ctx, w.hold)
				return w.dismiss[conn.(namedConn).host]
			},
		}
		ctx, cancel := context.WithTimeout(t.Context(), end)
		defer cancel()
		lists := make(chan []config.Target)
		go script(lists)
		d.Run(ctx, lists)
		for host, times := range w.attempts {
			for _, at := range times {
				seconds[host] = append(seconds[host], int(at/time.Second))
			}
		}
	})
	return seconds
}

func targets(hosts ...string) (list []config.Target) {
	for _, h := range hosts {
		list = append(list, config.Target{Host: h, Port: "2003"})
	}
	return list
}

func once(hosts ...string) func(chan<- []config.Target) {
	return func(lists chan<- []config.Target) { lists <- targets(hosts...) }
}

func expect(t *testing.T, got map[string][]int, host string, want ...int) {
	t.Helper()
	if !slices.Equal(got[host], want) {
		t.Errorf("%s: attempts at %v, want %v", host, got[host], want)
	}
}

// About every 30 s, for each target by itself.
func TestCase119RefusedTargetsAreDialledEvery30s(t *testing.T) {
	w := &world{refuse: map[string]bool{"a": true, "b": true}}
	got := run(t, w, 100*time.Second, once("a", "b"))
	expect(t, got, "a", 0, 30, 60, 90)
	expect(t, got, "b", 0, 30, 60, 90)
	if warned := strings.Count(w.log.String(), "WARN"); warned != 2 {
		t.Errorf("%d warnings:\n%s", warned, w.log.String())
	}
}

// A client that drops its sessions at once is not hammered.
func TestCase121ShortSessionsBackOff(t *testing.T) {
	got := run(t, &world{}, 100*time.Second, once("a"))
	expect(t, got, "a", 0, 1, 3, 7, 15, 31, 61, 91)
}

func TestLongSessionsAreFollowedAtOnce(t *testing.T) {
	got := run(t, &world{hold: 40 * time.Second}, 100*time.Second, once("a"))
	expect(t, got, "a", 0, 40, 80)
}

// A client that closed the session has enough.
func TestCase120DismissedIsNotDialledAgain(t *testing.T) {
	got := run(t, &world{dismiss: map[string]bool{"a": true}}, 1000*time.Second, func(lists chan<- []config.Target) {
		lists <- targets("a")
		time.Sleep(100 * time.Second)
		lists <- targets("a") // still listed
		time.Sleep(100 * time.Second)
		lists <- nil
		lists <- targets("a") // listed anew
	})
	expect(t, got, "a", 0, 200)
}

func TestListsReplaceEachOther(t *testing.T) {
	w := &world{hold: time.Hour, refuse: map[string]bool{"b": true}}
	got := run(t, w, 195*time.Second, func(lists chan<- []config.Target) {
		lists <- targets("a", "b")
		time.Sleep(40 * time.Second)
		lists <- targets("c")
		time.Sleep(40 * time.Second)
		lists <- targets("c", "b")
	})
	expect(t, got, "a", 0)
	expect(t, got, "b", 0, 30, 80, 110, 140, 170)
	expect(t, got, "c", 40)
}

// Names are looked up for each attempt, and IPv4 is tried first.
func TestDialTCP(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, d := range []TCP{{}, {IPv4Only: true}} {
		conn, err := d.Dial(t.Context(), config.Target{Host: "localhost", Port: port})
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	deaf := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("deaf") }}
	for _, tc := range []struct {
		d      TCP
		target config.Target
		want   string
	}{
		{TCP{IPv4Only: true}, config.Target{Host: "::1", Port: port}, "no suitable address"},
		{TCP{IPv4Only: true}, config.Target{Host: "::1", Port: "no-such-service"}, "no-such-service"},
		{TCP{Resolver: deaf}, config.Target{Host: "no-such.invalid", Port: port}, "no-such.invalid"},
		{TCP{}, config.Target{Host: "127.0.0.1", Port: "1"}, "connection refused"},
	} {
		conn, err := tc.d.Dial(t.Context(), tc.target)
		if err == nil {
			conn.Close()
			t.Errorf("%v: connected", tc.target)
		} else if !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v, want %s", tc.target, err, tc.want)
		}
	}
}

func TestLookUpOrdersAddresses(t *testing.T) {
	got, err := TCP{}.lookUp(t.Context(), config.Target{Host: "localhost", Port: "2003"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(got, func(a, b netip.AddrPort) int { return a.Addr().BitLen() - b.Addr().BitLen() }) {
		t.Errorf("%v", got)
	}
}
