//go:build linux

package daemon

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"

	"capstan/rpcapd/internal/metrics"
	"capstan/rpcapd/internal/pump"
	"capstan/rpcapd/internal/session"
)

// registry holds the sessions that run, and how many there may be.
type registry struct {
	max, maxPerHost int

	mu       sync.Mutex // guards the following
	live     []entry    // the oldest first
	accepted uint64
	ended    pump.Stats // sum over sessions that ended
}

type entry struct {
	session *session.Session
	host    netip.Prefix       // invalid: a unix socket
	cancel  context.CancelFunc // of what goes before the session; nil if exempt
	exempt  bool               // from the limits
}

func (e entry) silent() bool { return !e.exempt && !e.session.Authenticated() }

// refusal tells a client why it is not admitted.
type refusal struct {
	reason metrics.Refusal
	text   string
}

// hostOf returns what counts as one host: an IPv4 address or an IPv6 network of
// 64 bits, all of which one host can have. On a unix socket there are none.
func hostOf(conn net.Conn) netip.Prefix {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	address, bits := a.AddrPort().Addr().Unmap(), 64
	if address.Is4() {
		bits = 32
	}
	p, _ := address.WithZone("").Prefix(bits) // can't fail for these lengths
	return p
}

// admit enters s. If its host has as many sessions as it may, or all together
// are as many as may be, one that has not logged in has to go, the oldest of
// that host or of the host that has most of them: silent connections must not
// keep clients out, and one host not another's. cancel ends what s waits for
// before it runs.
func (r *registry) admit(s *session.Session, host netip.Prefix, cancel context.CancelFunc) (evicted bool, refused *refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if host.IsValid() && r.count(func(e entry) bool { return e.host == host }) >= r.maxPerHost {
		if !r.evict(host) {
			return false, &refusal{metrics.RefusedHostFull, "Too many sessions from this host"}
		}
		evicted = true
	}
	if r.count(func(e entry) bool { return !e.exempt }) >= r.max {
		if !r.evict(r.mostSilent()) {
			return evicted, &refusal{metrics.RefusedFull, "Too many sessions"}
		}
		evicted = true
	}
	r.enter(entry{session: s, host: host, cancel: cancel})
	return evicted, nil
}

// add enters s regardless of the limits.
func (r *registry) add(s *session.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enter(entry{session: s, exempt: true})
}

func (r *registry) enter(e entry) {
	r.live = append(r.live, e)
	r.accepted++
}

func (r *registry) count(counts func(entry) bool) (n int) {
	for _, e := range r.live {
		if counts(e) {
			n++
		}
	}
	return n
}

// mostSilent returns the host with most sessions that have not logged in.
func (r *registry) mostSilent() (host netip.Prefix) {
	silent := make(map[netip.Prefix]int)
	for _, e := range r.live {
		if e.silent() {
			if silent[e.host]++; silent[e.host] > silent[host] {
				host = e.host
			}
		}
	}
	return host
}

// evict ends the oldest session of host that has not logged in.
func (r *registry) evict(host netip.Prefix) bool {
	i := slices.IndexFunc(r.live, func(e entry) bool { return e.host == host && e.silent() })
	if i < 0 {
		return false
	}
	r.live[i].cancel()
	r.live[i].session.Abort()
	r.drop(i)
	return true
}

func (r *registry) remove(s *session.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.live, func(e entry) bool { return e.session == s }); i >= 0 {
		r.drop(i)
	}
}

// drop moves a session from the live ones to the sum of the others, so that
// the totals never go back. One that was evicted has captured nothing.
func (r *registry) drop(i int) {
	r.ended.Add(r.live[i].session.Stats())
	r.live = slices.Delete(r.live, i, i+1)
}

// abort ends all sessions without further ado.
func (r *registry) abort() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.live {
		e.session.Abort()
	}
}

// counters returns how many sessions there are and were, and the sum of what
// they captured. The counters of a session are read without the lock: that may
// take long, and accepting needs it. One that ends meanwhile keeps its sum.
func (r *registry) counters() (live int, total uint64, frames pump.Stats) {
	r.mu.Lock()
	entries := slices.Clone(r.live)
	total, frames = r.accepted, r.ended
	r.mu.Unlock()
	for _, e := range entries {
		frames.Add(e.session.Stats())
	}
	return len(entries), total, frames
}
