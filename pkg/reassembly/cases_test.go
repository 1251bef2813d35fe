package reassembly

import (
	"testing"
)

// tcpCase plays a scenario; the checks every scenario shares follow in TestTCP.
type tcpCase struct {
	name string
	cfg  Config
	play func(t *testing.T, p *probe)
}

func TestTCP(t *testing.T) {
	for _, group := range [][]tcpCase{orderCases, copyCases, lossCases, joinCases, endCases, synCases, overtakenCases, reopenCases, earlyCases} {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) {
				p := newProbe(t, c.cfg)
				c.play(t, p)
				structure(t, p.a)
				p.closeAll(CloseEndOfCapture)
				empty(t, p.a)
				for i, r := range p.streams {
					if len(r.closed) != 1 {
						t.Errorf("connection %d was closed %d times", i, len(r.closed))
					}
				}
			})
		}
	}
}

// talk has both ends say what wantClean wants of the first connection, and close.
func (p *probe) talk() {
	p.t.Helper()
	p.c(1, 200)
	p.s(1, 500)
	p.fins()
	p.wantClean(0)
}

// wantClean holds that stream i is what a lossless connection with 200 and 500 bytes leaves.
func (p *probe) wantClean(i int) {
	p.t.Helper()
	p.want(i, C, "[0,200) END")
	p.want(i, S, "[0,500) END")
	p.wantBytes(i, C, 1)
	p.wantBytes(i, S, 1)
	p.wantClosed(i, CloseFIN)
	if c := p.streams[i].atOpen; !c.ClientKnown || c.Client != p.dir(C) || c.Midstream {
		p.t.Errorf("connection is %+v", c)
	}
}
