package engine

import (
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/pkg/capture"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// What a server had sent before its RST, and is captured behind that, is no
// connection of its own. A SYN is one, at once.
func TestDataBehindItsRST(t *testing.T) {
	var w wire
	take := func() []capture.Frame {
		frames := w.frames
		w.frames = nil
		return frames
	}
	c := w.connect(40000)
	w.frames = append(w.frames[:1], w.frames[2:]...) // the SYN-ACK is lost
	c.say(0, "\x00\x00\x00\x10binary of no protocol")
	frames := take()
	c.say(1, "\x00\x00\x00\x20binary of no protocol, either")
	late := take()
	c.frame(1, 0x14, nil)
	frames = append(append(frames, take()...), late...)
	for i := range frames {
		frames[i].Timestamp = int64(i+1) * 10_000
	}

	again := &talk{w: &w, port: 40000, seq: [2]uint32{9000, 5010}}
	again.frame(0, 0x02, nil)
	again.frame(1, 0x12, nil)
	again.say(0, get(1))
	again.say(1, answer(10))
	frames = append(frames, take()...)

	var records []*capstanv1.Exchange
	e := New(Config{Exchange: exchange.Config{Emit: exchangetest.Keep(&records)}})
	for i := range frames {
		e.Frame(&frames[i])
	}
	e.Finish()
	s := e.Snapshot()
	checkSnapshot(t, &s, records)
	if len(records) != 2 || records[0].Connection == nil || !records[1].Complete || records[1].Request.GetTarget() != "/api/items/1" {
		t.Errorf("told %v", records)
	}
	if r := &s.Reassembly; r.Opened != 2 || r.LateSegments != 1 || r.Closed[reassembly.CloseRST] != 1 {
		t.Errorf("counted %+v", *r)
	}
}
