package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fixed is a source of accounts that are given.
type fixed struct {
	d   directory
	err error
}

func (f fixed) load() (directory, error) { return f.d, f.err }

// accounts are of several methods, cheap ones.
func accounts() directory {
	d := directory{}
	for i := range 40 {
		name := fmt.Sprintf("user%d", i)
		hash := secret
		if i%2 == 0 {
			hash = "$5$rounds=1000$salt" + fmt.Sprint(i) + "$not a hash of anything"
		}
		d[name] = &entry{Account: Account{Name: name}, hash: hash}
	}
	d["alice"] = &entry{Account: Account{Name: "alice", UID: 7, System: true}, hash: secret}
	d["expired"] = &entry{Account: Account{Name: "expired"}, hash: secret, barred: RefusedAccountExpired}
	d["locked"] = &entry{Account: Account{Name: "locked"}, hash: "!" + secret, barred: RefusedLocked}
	d["strange"] = &entry{Account: Account{Name: "strange"}, hash: "$gy$j9T$abc$def"}
	return d
}

var peerA, peerB = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

func refusalOf(err error) Refusal {
	if le := (*LoginError)(nil); errors.As(err, &le) {
		return le.Refusal
	}
	return refusedNot
}

func TestLogin(t *testing.T) {
	for _, tc := range []struct {
		user, password string
		want           Refusal
	}{
		{"alice", "secret", refusedNot},
		{"alice", "secres", RefusedPassword},
		{"alice", "", RefusedPassword},
		{"nobody", "secret", RefusedUnknownUser},
		{"", "secret", RefusedUnknownUser},
		{"expired", "secret", RefusedAccountExpired},
		{"expired", "secres", RefusedPassword},
		{"locked", "secret", RefusedLocked},
		{"strange", "secret", RefusedHash},
		{"alice", strings.Repeat("x", 65535), RefusedMalformed},
		{strings.Repeat("x", 65535), "secret", RefusedMalformed},
	} {
		a := New(fixed{d: accounts()})
		password := []byte(tc.password)
		account, err := a.Login(t.Context(), peerA, tc.user, password)
		if got := refusalOf(err); got != tc.want || (err == nil) != (tc.want == refusedNot) {
			t.Errorf("%.10q %.10q: %v, want %v", tc.user, tc.password, err, tc.want)
		}
		if err == nil && (account.Name != "alice" || account.UID != 7) {
			t.Errorf("%+v", account)
		}
		if strings.Trim(string(password), "\x00") != "" {
			t.Errorf("%.10q: the password was not wiped", tc.user)
		}
	}
	broken := New(fixed{err: errors.New("no such file")})
	if _, err := broken.Login(t.Context(), peerA, "alice", []byte("secret")); refusalOf(err) != RefusedSource {
		t.Error(err)
	}
}

// The reference takes a name or password as far as its first NUL.
func TestCase027NULInPassword(t *testing.T) {
	for _, login := range [][2]string{{"alice", "secret\x00"}, {"alice", "secret\x00x"}, {"alice\x00", "secret"}, {"alice\x00x", "secret"}} {
		a := New(fixed{d: accounts()})
		if _, err := a.Login(t.Context(), peerA, login[0], []byte(login[1])); refusalOf(err) != RefusedMalformed {
			t.Errorf("%q: %v", login, err)
		}
	}
}

// An unknown user costs the same kind of work as a known one; which kind is
// spread over the names as the kinds are over the accounts, and stays the same
// for a name. (CVE-2019-15162 is that rpcapd told which of the two was wrong.)
func TestCVE_2019_15162_UnknownUsersCostTheSame(t *testing.T) {
	a := New(fixed{d: accounts()})
	var tried []string
	a.verify = func(hash string, password []byte) error {
		tried = append(tried, methodOf(hash)+fmt.Sprint(len(password)))
		return ErrMismatch
	}
	methodsOf := func(user string) string {
		tried = nil
		for range 2 {
			a.throttle = newThrottle(time.Now)
			if _, err := a.Login(t.Context(), peerA, user, []byte("guess")); err == nil {
				t.Fatal("let in")
			}
		}
		if len(tried) != 2 || tried[0] != tried[1] {
			t.Fatalf("%s: %q", user, tried)
		}
		return tried[0]
	}
	count := map[string]int{}
	for i := range 200 {
		count[methodsOf(fmt.Sprintf("nobody%d", i))]++
	}
	if count["$1$5"] < 20 || count["$5$5"] < 20 || len(count) != 2 {
		t.Errorf("unknown users: %v", count)
	}
	for _, user := range []string{"alice", "locked", "expired"} {
		methodsOf(user)
	}
	a.source = fixed{d: directory{}}
	if got := methodsOf("anybody"); got != "$6$5" {
		t.Errorf("without accounts: %s", got)
	}
}

// A hash that can't be used costs the work of another, and doesn't crash
// (CVE-2019-15163 is crypt() returning NULL for it).
func TestCVE_2019_15163_UnusableHash(t *testing.T) {
	a := New(fixed{d: accounts()})
	var tried []string
	a.verify = func(hash string, password []byte) error {
		tried = append(tried, methodOf(hash))
		return verify(hash, password)
	}
	if _, err := a.Login(t.Context(), peerA, "strange", []byte("guess")); refusalOf(err) != RefusedHash {
		t.Error(err)
	}
	if len(tried) != 2 || tried[0] != "$gy$" || tried[1] == "$gy$" {
		t.Errorf("%q", tried)
	}
}

// However many connections a peer opens, one hash is computed for it at a time,
// so that another peer gets its turn.
func TestOnePeerCantKeepOthersOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(fixed{d: accounts()})
		a.slots = make(chan struct{}, 2)
		var running, most atomic.Int32
		release := make(chan struct{})
		a.verify = func(_ string, password []byte) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			if string(password) == "hold" {
				<-release
			}
			return ErrMismatch
		}
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { _, _ = a.Login(context.Background(), peerA, "alice", []byte("hold")) })
		}
		synctest.Wait()
		if running.Load() != 1 {
			t.Errorf("%d hashes at once for one peer", running.Load())
		}
		if _, err := a.Login(t.Context(), peerB, "alice", []byte("guess")); refusalOf(err) != RefusedPassword {
			t.Errorf("another peer: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Login(ctx, peerA, "alice", []byte("guess")); refusalOf(err) != RefusedBusy {
			t.Errorf("no turn within the time: %v", err)
		}
		close(release)
		wg.Wait()
		if most.Load() > 2 {
			t.Errorf("%d hashes at once", most.Load())
		}
	})
}

func TestHashesAreBoundedOverAllPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(fixed{d: accounts()})
		for processors, want := range map[int]int{1: 1, 2: 1, 4: 2, 64: 4} {
			if got := slotsFor(processors); got != want {
				t.Errorf("%d slots for %d processors, want %d", got, processors, want)
			}
		}
		a.slots = make(chan struct{}, 2)
		var running atomic.Int32
		release := make(chan struct{})
		a.verify = func(string, []byte) error { running.Add(1); <-release; return ErrMismatch }
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				_, _ = a.Login(context.Background(), netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), "alice", nil)
			})
		}
		synctest.Wait()
		if running.Load() != 2 {
			t.Errorf("%d hashes at once", running.Load())
		}
		close(release)
		wg.Wait()
		if running.Load() != 50 {
			t.Errorf("%d of 50 were served", running.Load())
		}
	})
}

func TestGuessingPeersAreBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(fixed{d: accounts()})
		hashes := 0
		a.verify = func(hash string, password []byte) error { hashes++; return verify(hash, password) }
		login := func(peer netip.Addr, password string) Refusal {
			_, err := a.Login(t.Context(), peer, "alice", []byte(password))
			return refusalOf(err)
		}
		blocks := []time.Duration{}
		for range freeFailures {
			if got := login(peerA, "guess"); got != RefusedPassword {
				t.Fatal(got)
			}
		}
		for range 12 {
			before := time.Now()
			for login(peerA, "guess") == RefusedBlocked {
				time.Sleep(time.Second)
			}
			blocks = append(blocks, time.Since(before))
		}
		want := "[1s 2s 4s 8s 16s 32s 1m4s 2m8s 4m16s 5m0s 5m0s 5m0s]"
		if got := fmt.Sprint(blocks); got != want {
			t.Errorf("blocked for %s, want %s", got, want)
		}
		if hashes != freeFailures+12 {
			t.Errorf("%d hashes: some for a blocked peer", hashes)
		}
		if got := login(peerA, "secret"); got != RefusedBlocked {
			t.Errorf("the right password of a blocked peer: %v", got)
		}
		if got := login(peerB, "secret"); got != refusedNot {
			t.Errorf("another peer: %v", got)
		}
		time.Sleep(forgetAfter + time.Second)
		if got := login(peerA, "guess"); got != RefusedPassword {
			t.Errorf("after a while: %v", got)
		}
		if got := login(peerA, "secret"); got != refusedNot {
			t.Errorf("after a while: %v", got)
		}
		if n := len(a.throttle.peers); n != 0 {
			t.Errorf("%d peers are remembered without reason", n)
		}
	})
}

func TestThrottleIsBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	th := newThrottle(func() time.Time { return now })
	fail := func(peer netip.Addr) {
		m, err := th.enter(t.Context(), peer)
		if err != nil {
			t.Fatal(err)
		}
		m.leave(turnFailed)
	}
	// All addresses of an IPv6 network are one peer.
	for i := range 100 {
		a := netip.MustParseAddr("2001:db8::").As16()
		a[15] = byte(i)
		if i < freeFailures {
			fail(netip.AddrFrom16(a))
		} else if _, err := th.enter(t.Context(), netip.AddrFrom16(a)); refusalOf(err) != RefusedBlocked {
			t.Fatal(err)
		}
	}
	for i := range maxPeers + 100 {
		now = now.Add(time.Millisecond)
		fail(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	if len(th.peers) != maxPeers {
		t.Errorf("%d peers", len(th.peers))
	}
	if th.peers[netip.AddrFrom4([4]byte{10, 0, 0, 1})] != nil {
		t.Error("the oldest peer is still remembered")
	}
}
