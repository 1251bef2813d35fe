package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"runtime"
	"time"
)

// Authenticator verifies logins. It is safe from any goroutine.
type Authenticator struct {
	source   Source
	slots    chan struct{} // a token for each hash that is being computed
	throttle *throttle
	decoyKey []byte

	// verify is [verify]; tests count with it.
	verify func(hash string, password []byte) error
}

// New returns an authenticator on the accounts of source.
func New(source Source) *Authenticator {
	a := &Authenticator{
		source:   source,
		slots:    make(chan struct{}, slotsFor(runtime.GOMAXPROCS(0))),
		throttle: newThrottle(time.Now),
		decoyKey: make([]byte, 32),
		verify:   verify,
	}
	rand.Read(a.decoyKey)
	return a
}

// maxSlots bounds the hashes that are computed at once; each may take
// maxYescryptBytes of memory.
const maxSlots = 4

// slotsFor leaves half of the processors to captures.
func slotsFor(processors int) int { return min(max(1, processors/2), maxSlots) }

// Login holds a password against the account of user, and wipes it. The error
// is a [*LoginError]. It waits for its turn until ctx ends; one peer has one
// turn at a time, whatever the number of its connections. The zero Addr is a
// peer of this host.
func (a *Authenticator) Login(ctx context.Context, peer netip.Addr, user string, password []byte) (Account, error) {
	defer clear(password)
	turn, err := a.throttle.enter(ctx, peer)
	if err != nil {
		return Account{}, err
	}
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		turn.leave(turnUnused)
		return Account{}, &LoginError{Refusal: RefusedBusy}
	}
	e, err := a.check(user, password)
	if err != nil {
		turn.leave(turnFailed)
		return Account{}, err
	}
	turn.leave(turnSucceeded)
	return e.Account, nil
}

// check does the same work whether the user exists or not.
func (a *Authenticator) check(user string, password []byte) (*entry, error) {
	d, err := a.source.load()
	if err != nil {
		return nil, &LoginError{Refusal: RefusedSource, Err: err}
	}
	decoy := d.decoy(a.decoyKey, user)
	e, refusal := d[user], refusedNot
	switch {
	case hasNUL([]byte(user)) || hasNUL(password) || len(user) > maxNameLen || len(password) > maxPasswordLen:
		// Deviation: the reference cuts both at a NUL.
		refusal, password = RefusedMalformed, password[:min(len(password), maxPasswordLen)]
	case e == nil:
		refusal = RefusedUnknownUser
	case !e.usable():
		refusal = e.barred
	}
	if refusal != refusedNot {
		_ = a.verify(decoy, password) // for its time only
		return nil, &LoginError{Refusal: refusal}
	}
	err = a.verify(e.hash, password)
	switch {
	case errors.Is(err, ErrMismatch):
		return nil, &LoginError{Refusal: RefusedPassword}
	case err != nil:
		_ = a.verify(decoy, password)
		return nil, &LoginError{Refusal: RefusedHash, Err: err}
	case e.barred != refusedNot:
		return nil, &LoginError{Refusal: e.barred}
	}
	return e, nil
}
