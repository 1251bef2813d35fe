package clients

import (
	"net"
	"testing"
)

// TestLimit: as many as may be are connected, each time that they are is counted, and the
// next comes in once one of them has gone.
func TestLimit(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var c Counts
	limited := c.Limit(l, 2)
	defer limited.Close()
	accepted := make(chan net.Conn)
	go func() { // ends with the listener
		for {
			conn, err := limited.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- conn
		}
	}()
	dial := func() {
		t.Helper()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	dial()
	first := <-accepted
	if s := c.Stats(); s != (Stats{Connected: 1}) {
		t.Errorf("one: %+v", s)
	}
	dial()
	second := <-accepted
	if s := c.Stats(); s != (Stats{Connected: 2, Full: 1}) {
		t.Errorf("two: %+v", s)
	}
	dial() // the kernel has it
	select {
	case <-accepted:
		t.Error("a third was let in")
	default:
	}
	first.Close()
	first.Close()
	third := <-accepted
	if s := c.Stats(); s != (Stats{Connected: 2, Full: 2}) {
		t.Errorf("another two: %+v", s)
	}
	second.Close()
	third.Close()
	if s := c.Stats(); s != (Stats{Full: 2}) {
		t.Errorf("none: %+v", s)
	}
}
