package session_test

import (
	"io"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"capstan/pkg/rpcap"
)

// manyInterfaces is a host of n interfaces with four addresses each.
func manyInterfaces(n int) (list []rpcap.Interface) {
	for i := range n {
		a := rpcap.InterfaceAddress{Addr: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})}
		list = append(list, rpcap.Interface{Name: "veth" + strconv.Itoa(i), Addresses: []rpcap.InterfaceAddress{a, a, a, a}})
	}
	return list
}

// A listing of megabytes arrives whole, however slowly it is read: it is the
// progress that is timed.
func TestLargeListing(t *testing.T) {
	const count = 5000
	in(t, "read slowly", func(t *testing.T) {
		host := newHost()
		host.interfaces = manyInterfaces(count)
		r := start(t, nullAuth, host).auth()
		r.reader = rpcap.NewReader(&slowReader{r.conn}, nil)
		r.send(listReq)
		before := time.Now()
		got := r.receive()
		var list rpcap.FindAllIfReply
		if err := rpcap.Decode(rpcap.ParseHeader(got), got[8:], &list); err != nil || len(list.Interfaces) != count {
			t.Fatalf("%d interfaces, %v", len(list.Interfaces), err)
		}
		if took := time.Since(before); took < time.Minute {
			t.Errorf("read in %v, which is not slow", took)
		}
		r.inSync()
		r.end()
	})
	in(t, "not read at all", func(t *testing.T) {
		host := newHost()
		host.interfaces = manyInterfaces(count)
		r := start(t, nullAuth, host).auth()
		before := time.Now()
		r.send(listReq)
		r.wait()
		if took := time.Since(before); took > time.Minute {
			t.Errorf("given up after %v", took)
		}
	})
}

// slowReader reads at most 64 KiB a second.
type slowReader struct{ conn io.Reader }

func (s *slowReader) Read(b []byte) (int, error) {
	time.Sleep(time.Second)
	return s.conn.Read(b[:min(len(b), 64<<10)])
}
