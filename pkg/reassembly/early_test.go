package reassembly

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// sequence is who was heard in what order, and from what offset.
func (p *probe) sequence() string {
	var heard []string
	for i, ch := range p.last().chunks {
		name := "C"
		if p.last().heard[i] != p.dir(C) {
			name = "S"
		}
		heard = append(heard, fmt.Sprint(name, ch.Offset))
	}
	return strings.Join(heard, " ")
}

var earlyCases = []tcpCase{
	{name: "an answer captured before what it answers", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.sent[C] = 201
		p.s(1, 250)
		p.s(251, 250)
		p.wantConns(0)
		p.acks[C] = 1
		p.c(1, 200)
		if got := p.sequence(); got != "C0 S0 S250" {
			t.Errorf("heard %s", got)
		}
		p.acks[C] = -1
		p.fins()
		p.wantClean(0)
		if st := p.a.Stats(); st.OutOfOrder != 0 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "two exchanges captured backwards", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.sent = [2]int64{201, 501}
		p.acks[S] = 201
		p.s(251, 250)
		p.acks[C] = 251
		p.c(101, 100)
		p.acks[S] = 101
		p.s(1, 250)
		p.acks[C] = 1
		p.c(1, 100)
		if got := p.sequence(); got != "C0 S0 C100 S250" {
			t.Errorf("heard %s", got)
		}
		p.acks = [2]int64{-1, -1}
		p.fins()
		p.wantClean(0)
	}},
	{name: "an answer to what is never captured", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.lost(C, 1, 100, 0)
		p.s(1, 100)
		p.wait(4 * time.Millisecond)
		p.wantConns(0)
		p.wait(time.Millisecond)
		p.want(0, S, "[0,100)")
		p.lost(C, 101, 100, 0)
		p.s(101, 100) // the other direction is not captured: no more waiting
		p.want(0, S, "[0,200)")
		p.c(201, 10)
		p.s(201, 10)
		p.wait(5 * time.Millisecond)
		p.want(0, C, "gap200 [200,210)")
		p.lost(C, 211, 10, 0)
		p.s(211, 10)
		p.want(0, S, "[0,210)") // it is captured
		p.c(221, 10)
		p.wait(5 * time.Millisecond)
		p.want(0, C, "gap200 [200,210) gap10 [220,230)")
		p.want(0, S, "[0,220)")
	}},
	{name: "an answer to what comes behind a hole", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.lost(S, 1, 100, 0)
		p.sent[S] = 201
		p.c(201, 50) // has received what is captured next
		p.acks[S] = 201
		p.s(101, 100)
		p.wait(4 * time.Millisecond)
		p.want(0, C, "[0,200)")
		p.wait(time.Millisecond)
		if got := p.sequence(); got != "C0 S100 C200" {
			t.Errorf("heard %s", got)
		}
		p.want(0, S, "gap100 [100,200)")
		p.acks[S] = -1
		p.fins()
		p.wantClosed(0, CloseFIN)
	}},
	{name: "an answer to what comes behind a hole, at the end", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.lost(S, 1, 100, 0)
		p.sent[S] = 201
		p.lost(C, 201, 50, 0)
		p.c(251, 50)
		p.acks[S] = 201
		p.s(101, 100)
		p.closeAll(CloseEndOfCapture)
		if got := p.sequence(); got != "C0 S100 C250" {
			t.Errorf("heard %s", got)
		}
	}},
	{name: "an early answer, and no tolerance", cfg: Config{AckTolerance: -1}, play: func(t *testing.T, p *probe) {
		p.handshake()
		p.sent[C] = 201
		p.s(1, 500)
		p.want(0, S, "[0,500)")
	}},
	{name: "an early answer, then a FIN", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.sent[C] = 201
		p.send(S, 1, 500, finack)
		p.wantConns(0)
		p.acks[C] = 1
		p.c(1, 200)
		p.want(0, S, "[0,500) END")
		p.acks[C] = -1
		p.send(C, 201, 0, finack)
		p.wantClean(0)
	}},
	{name: "an early answer, then a RST", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.sent[C] = 201
		p.s(1, 500)
		p.send(S, 501, 0, rst)
		p.wantConns(0)
		p.wait(5 * time.Millisecond)
		p.want(0, S, "[0,500)")
		p.wantClosed(0, CloseRST)
	}},
	{name: "an early answer, cut by a snap length", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.sent[C] = 101
		s := p.segment(S, 1, ack, octets(S, 1, 50))
		s.Missing = 450
		p.put(s)
		p.sent[S] = 501
		p.wantConns(0)
		p.acks[C] = 1
		p.c(1, 100)
		p.want(0, S, "[0,50) gap450")
	}},
	{name: "an early answer, sent again", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.sent[C] = 201
		p.s(1, 300)
		p.s(1, 500)
		p.wantConns(0)
		p.acks[C] = 1
		p.c(1, 200)
		p.acks[C] = -1
		p.fins()
		p.wantClean(0)
		if st := p.a.Stats(); st.DuplicateBytes != 300 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "both ends acknowledge what neither has sent", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.acks = [2]int64{1000, 1000}
		p.c(1, 200)
		p.s(1, 500)
		p.wantConns(0)
		p.wait(5 * time.Millisecond)
		p.want(0, C, "[0,200)")
		p.want(0, S, "[0,500)")
	}},
}
