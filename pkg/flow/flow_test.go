package flow

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

func randomEndpoint(r *rand.Rand) Endpoint {
	if r.IntN(2) == 0 {
		var a [4]byte
		for i := range a {
			a[i] = byte(r.Uint32())
		}
		return EndpointFrom(netip.AddrPortFrom(netip.AddrFrom4(a), uint16(r.Uint32())))
	}
	var e Endpoint
	for i := range e.Addr {
		e.Addr[i] = byte(r.Uint32())
	}
	e.Port = uint16(r.Uint32())
	return e
}

func TestKeyIsSymmetric(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		a, b := randomEndpoint(r), randomEndpoint(r)
		k1, d1 := NewKey(a, b)
		k2, d2 := NewKey(b, a)
		if k1 != k2 || k1.Hash() != k2.Hash() {
			t.Fatalf("keys of %v and %v differ by direction: %v, %v", a, b, k1, k2)
		}
		if a != b && d1 != d2.Reverse() {
			t.Fatalf("directions of %v → %v: %d and %d", a, b, d1, d2)
		}
		if k1.Sender(d1) != a || k2.Sender(d2) != b {
			t.Fatalf("sender of %v → %v is %v", a, b, k1.Sender(d1))
		}
	}
}

// TestHashesSpread asks that connections of many clients to one server fall evenly
// into what few bits of a hash tell apart.
func TestHashesSpread(t *testing.T) {
	const parts, flows = 64, 80_000
	for _, prefix := range []string{"10.0.%d.%d", "::%d:%d", "2001:db8::%d:%d"} {
		var hash, seeded, scoped [parts]int
		server := EndpointFrom(netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf(prefix, 0, 1)), 80))
		for i := range flows {
			client := EndpointFrom(netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf(prefix, 1, 1+i>>14)), uint16(1024+i%16384)))
			k, _ := NewKey(client, server)
			hash[k.Hash()%parts]++
			seeded[k.SeededHash(0x1234567890abcdef)%parts]++
			k.Scope = 7
			scoped[k.SeededHash(0x1234567890abcdef)%parts]++
		}
		for i := range parts {
			for _, n := range []int{hash[i], seeded[i], scoped[i]} {
				if n < flows/parts*8/10 || n > flows/parts*12/10 {
					t.Errorf("%s: part %d holds %d of %d flows", prefix, i, n, flows)
				}
			}
		}
	}
}

func TestEndpointKeepsAddressFamily(t *testing.T) {
	for _, s := range []string{"192.0.2.1:80", "[2001:db8::1]:443", "0.0.0.0:0"} {
		ap := netip.MustParseAddrPort(s)
		if got := EndpointFrom(ap).AddrPort(); got != ap {
			t.Errorf("%s came back as %s", ap, got)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	k, _ := NewKey(EndpointFrom(netip.MustParseAddrPort("10.0.0.1:80")), EndpointFrom(netip.MustParseAddrPort("10.0.0.2:1234")))
	var sum uint64
	for b.Loop() {
		sum += k.Hash()
	}
	_ = sum
}

func TestEqualIsEqual(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		k, _ := NewKey(randomEndpoint(r), randomEndpoint(r))
		k.Scope = r.Uint32()
		same := k
		if !k.Equal(&same) {
			t.Fatalf("%v does not equal itself", k)
		}
		for name, change := range map[string]func(*Key){
			"address": func(k *Key) { k.A.Addr[r.IntN(16)]++ }, "port": func(k *Key) { k.A.Port++ },
			"other address": func(k *Key) { k.B.Addr[r.IntN(16)]++ }, "other port": func(k *Key) { k.B.Port++ },
			"scope": func(k *Key) { k.Scope++ },
		} {
			o := k
			if change(&o); k.Equal(&o) {
				t.Fatalf("%v with another %s: %v", k, name, o)
			}
		}
	}
}
