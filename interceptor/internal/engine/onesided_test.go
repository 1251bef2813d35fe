package engine

import (
	"encoding/binary"
	"testing"

	"capstan/interceptor/internal/exchange"
	capstanv1 "capstan/proto/capstan/v1"
)

// TestOneSide: a capture of one direction alone keeps no half for another one that never
// comes. Requests and responses are told as they pass, and once.
func TestOneSide(t *testing.T) {
	const exchanges = 500
	protocols := map[string]func(c *talk, i int){
		"HTTP/1": func(c *talk, i int) {
			c.say(0, get(i))
			c.say(1, answer(100))
		},
		"HTTP/2": func(c *talk, i int) {
			if i == 0 {
				c.say(0, preface)
				c.say(0, string(h2frame(4, 0, 0, nil)))
				c.say(1, string(h2frame(4, 0, 0, nil)))
			}
			stream := uint32(2*i + 1)
			c.say(0, string(h2frame(1, 5, stream, []byte{0x82, 0x87, 0x84})))
			c.say(1, string(h2frame(1, 5, stream, []byte{0x88})))
		},
	}
	for name, exchangeOne := range protocols {
		for side := range 2 {
			var w wire
			c := w.connect(40000)
			for i := range exchanges {
				exchangeOne(c, i)
			}
			told := 0
			e := New(Config{Exchange: exchange.Config{Emit: func(x *capstanv1.Exchange) {
				if told++; (x.Request != nil) != (side == 0) || (x.Response != nil) != (side == 1) {
					t.Errorf("%s, side %d: %v", name, side, x)
				}
			}}})
			for i := range w.frames {
				if f := &w.frames[i]; (binary.BigEndian.Uint16(f.Data[34:]) == 80) == (side == 1) {
					e.Frame(f)
				}
			}
			if told < exchanges-2 {
				t.Errorf("%s, side %d: %d of %d are told before the capture ends", name, side, told, exchanges)
			}
			if e.Finish(); told != exchanges {
				t.Errorf("%s, side %d: %d of %d are told", name, side, told, exchanges)
			}
		}
	}
}
