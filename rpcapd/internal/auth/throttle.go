package auth

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// What a peer that guesses has to bear. A peer is an IPv4 address or an IPv6
// network of 64 bits, since whoever has one address of that has all.
const (
	freeFailures = 5                // before it is blocked
	maxBlock     = 5 * time.Minute  // a block begins with a second and doubles
	forgetAfter  = 15 * time.Minute // since the last failure
	maxPeers     = 4096             // that are remembered
	peerBits6    = 64
)

// throttle remembers the peers that log in.
type throttle struct {
	now func() time.Time

	mu    sync.Mutex // guards the following and the peers in it
	peers map[netip.Addr]*peerState
}

type peerState struct {
	turn     chan struct{} // holds a token while a login is under way
	waiting  int           // logins that hold or wait for the turn
	failures int
	last     time.Time // of the failures
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, peers: map[netip.Addr]*peerState{}}
}

// turn is the right to one login; leave gives it back.
type turn struct {
	throttle *throttle
	key      netip.Addr
	peer     *peerState
}

// outcome is how a turn went.
type outcome uint8

const (
	turnUnused outcome = iota
	turnFailed
	turnSucceeded
)

// enter waits for the peer's turn. It fails at once for a peer that is blocked.
func (t *throttle) enter(ctx context.Context, peer netip.Addr) (turn, error) {
	key := peerKey(peer)
	p := t.join(key)
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		t.part(key, p)
		return turn{}, &LoginError{Refusal: RefusedBusy}
	}
	mine := turn{throttle: t, key: key, peer: p}
	t.mu.Lock()
	blocked := t.now().Before(p.blockedUntil())
	t.mu.Unlock()
	if blocked {
		mine.leave(turnUnused)
		return turn{}, &LoginError{Refusal: RefusedBlocked}
	}
	return mine, nil
}

// leave ends the turn and keeps account of how it went.
func (m turn) leave(o outcome) {
	t := m.throttle
	t.mu.Lock()
	switch o {
	case turnFailed:
		m.peer.failures++
		m.peer.last = t.now()
	case turnSucceeded:
		m.peer.failures = 0
	}
	t.mu.Unlock()
	<-m.peer.turn
	t.part(m.key, m.peer)
}

// join returns the state of a peer and counts one more login on it.
func (t *throttle) join(key netip.Addr) *peerState {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[key]
	if p == nil {
		if len(t.peers) >= maxPeers {
			t.evict()
		}
		p = &peerState{turn: make(chan struct{}, 1)}
		t.peers[key] = p
	} else if t.now().Sub(p.last) > forgetAfter {
		p.failures = 0
	}
	p.waiting++
	return p
}

// part takes a login off a peer; one without failures needn't be remembered.
func (t *throttle) part(key netip.Addr, p *peerState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.waiting--
	if p.waiting == 0 && p.failures == 0 {
		delete(t.peers, key)
	}
}

// evict forgets the peer whose last failure is longest ago. One that is
// logging in stays.
func (t *throttle) evict() {
	var oldest netip.Addr
	var found *peerState
	for key, p := range t.peers {
		if p.waiting == 0 && (found == nil || p.last.Before(found.last)) {
			oldest, found = key, p
		}
	}
	if found != nil {
		delete(t.peers, oldest)
	}
}

func (p *peerState) blockedUntil() time.Time {
	over := p.failures - freeFailures
	if over < 0 {
		return time.Time{}
	}
	block := maxBlock
	if over < 9 { // 2^8 s is less than maxBlock
		block = time.Second << over
	}
	return p.last.Add(block)
}

func peerKey(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(peerBits6) // fails only for more bits than there are
		return p.Addr()
	}
	return a
}
