package reassembly

import (
	"strings"
	"testing"
	"time"

	"capstan/pkg/packet"
)

var overtakenCases = []tcpCase{
	{name: "05 data before the SYN-ACK leaves a hole", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.sent = [2]int64{201, 1}
		p.s(301, 200)
		p.wantConns(0)
		p.acks[S] = 1
		p.send(S, 0, 0, synack)
		p.acks[S] = 201
		p.acks[C] = 1
		p.bare(C)
		p.c(1, 200)
		p.acks[C] = -1
		p.s(1, 300)
		p.fins()
		p.wantClean(0)
		p.wantConns(1)
	}},
	{name: "05 all data before the SYN-ACK, last first", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.sent = [2]int64{201, 1}
		p.send(S, 401, 100, finack)
		p.s(201, 200)
		p.s(1, 200)
		p.wantConns(0)
		p.sent[S] = 1
		p.acks[C] = 1
		p.c(1, 200)
		p.want(0, C, "[0,200)")
		p.want(0, S, "[0,500) END")
		p.acks[C] = -1
		p.sent[S] = 502
		p.acks[S] = 1
		p.send(S, 0, 0, synack)
		p.send(C, 201, 0, finack)
		p.wantClean(0)
	}},
	{name: "05 data and an ACK before the SYN-ACK", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.sent = [2]int64{201, 1}
		p.s(301, 200)
		p.acks[C] = 101
		p.bare(C) // tells less than the SYN-ACK
		p.acks[S] = 1
		p.send(S, 0, 0, synack)
		p.acks = [2]int64{-1, 201}
		p.c(1, 200)
		p.s(1, 300)
		p.fins()
		p.wantClean(0)
	}},
	{name: "05 the SYN-ACK after a request that acknowledges more", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.sent = [2]int64{1, 101}
		p.c(1, 200)
		p.send(S, 101, 400, ack)
		p.want(0, S, "[0,400)")
		p.acks[S] = 1
		p.send(S, 0, 0, synack)
		p.acks[S] = -1
		p.s(1, 100) // too late, and no reason to begin anew
		p.fins()
		p.want(0, C, "[0,200) END")
		p.want(0, S, "[0,400) END")
		p.wantConns(1)
		if st := p.a.Stats(); st.DroppedBytes[DropBeforeStart] != 100 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "05 data, and never a SYN-ACK", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.sent = [2]int64{201, 1}
		p.s(301, 200)
		p.wait(900 * time.Millisecond)
		p.wantConns(0)
		p.wait(200 * time.Millisecond)
		p.want(0, S, "[0,200)")
		p.s(501, 100)
		p.want(0, S, "[0,300)")
		p.wantBytes(0, S, 301)
	}},
	{name: "05 data that is acknowledged, and never a SYN-ACK", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.sent[C] = 201
		p.s(301, 200)
		p.bare(C)
		p.wantConns(0)
		p.wait(5 * time.Millisecond)
		p.want(0, S, "[0,200)")
	}},
	{name: "05 data, and the end of the capture", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.s(301, 200)
		p.closeAll(CloseEndOfCapture)
		p.want(0, S, "[0,200)")
	}},
	{name: "05 data of an earlier connection before the SYN-ACK", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.isn[S] += 1 << 20
		p.put(p.segment(S, 1, ack, octets(S, 1, 100)))
		p.isn[S] -= 1 << 20
		p.send(S, 0, 0, synack)
		p.talk()
		p.wantConns(1)
		if st := p.a.Stats(); st.DroppedBytes[DropStray] != 100 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "05 the request after its own SYN, both after the response", play: func(t *testing.T, p *probe) {
		p.sent = [2]int64{201, 1}
		p.s(1, 500)
		p.send(C, 0, 0, syn)
		p.acks[S] = 1
		p.send(S, 0, 0, synack)
		p.acks = [2]int64{1, 201}
		p.c(1, 200)
		p.acks[C] = -1
		p.fins()
		p.want(0, C, "[0,200) END")
		p.want(0, S, "[0,500) END")
	}},
}

// TestOvertakenHandshake captures the start of a connection in every order. It is one
// connection in all of them, and whole where a SYN is the first that is seen of it.
func TestOvertakenHandshake(t *testing.T) {
	start := []struct {
		name  string
		x     side
		off   int64
		n     int
		flags packet.Flags
		ack   int64
	}{
		{"SYN", C, 0, 0, syn, 0},
		{"SYN-ACK", S, 0, 0, synack, 1},
		{"ACK", C, 1, 0, ack, 1},
		{"request", C, 1, 200, ack, 1},
		{"response", S, 1, 300, ack, 201},
		{"rest", S, 301, 200, ack, 201},
	}
	permute(len(start), func(order []int) {
		var names []string
		p := newProbe(t, Config{AckTolerance: 50 * time.Millisecond})
		for _, i := range order {
			s := &start[i]
			names = append(names, s.name)
			p.acks[s.x] = s.ack
			p.put(p.segment(s.x, s.off, s.flags, octets(s.x, s.off, s.n)))
		}
		p.sent, p.acks = [2]int64{201, 501}, [2]int64{-1, -1}
		p.fins()
		structure(t, p.a)
		p.wantConns(1)
		if order[0] <= 1 {
			p.wantClean(0)
			for _, ch := range p.streams[0].chunks {
				if ch.Acked > 0 && ch.Acked != 200 {
					t.Errorf("a chunk acknowledges %d", ch.Acked)
				}
			}
		}
		p.closeAll(CloseEndOfCapture)
		empty(t, p.a)
		if t.Failed() {
			t.Fatal(strings.Join(names, ", "))
		}
	})
}

// permute calls f for each order of n things.
func permute(n int, f func([]int)) {
	order := make([]int, 0, n)
	var next func(left uint)
	next = func(left uint) {
		if left == 0 {
			f(order)
			return
		}
		for i := range n {
			if left&(1<<i) != 0 {
				order = append(order, i)
				next(left &^ (1 << i))
				order = order[:len(order)-1]
			}
		}
	}
	next(1<<n - 1)
}
