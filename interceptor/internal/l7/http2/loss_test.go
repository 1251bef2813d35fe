package http2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// verdict is how a record stands to the truth.
type verdict struct {
	wrong  string // the first thing that is not true
	fields int    // fields known
}

// verify holds everything that x says against the truth.
func (c *conversation) verify(x *capstanv1.Exchange) (v verdict) {
	s := c.truth[x.StreamId]
	if s == nil {
		return verdict{wrong: "no such stream"}
	}
	check := func(what string, told bool) {
		if v.wrong == "" && told {
			v.wrong = what
		}
	}
	section := func(what string, fields []*capstanv1.Header, truth map[string]int) {
		left := make(map[string]int)
		for k, n := range truth {
			left[k] = n
		}
		for _, f := range fields {
			switch {
			case f.NameUnknown:
			case f.ValueUnknown:
				found := false
				for k := range truth {
					found = found || strings.HasPrefix(k, f.Name+"=")
				}
				check(what+" "+f.Name, !found)
			default:
				v.fields++
				left[f.Name+"="+f.Value]--
				check(what+" "+f.Name+"="+f.Value, left[f.Name+"="+f.Value] < 0)
			}
		}
	}
	if q := x.Request; q != nil {
		check("method "+q.Method, q.Method != "" && q.Method != s.method)
		check("path "+q.Target, q.Target != "" && q.Target != s.path)
		check("authority "+q.Authority, q.Authority != "" && q.Authority != "h")
		check("request body", int(q.Body.Size) > s.reqSize)
		section("request", q.Headers, s.request)
		section("request trailer", q.Trailers, s.reqTrail)
	}
	if p := x.Response; p != nil {
		check(fmt.Sprintf("status %d", p.Status), p.Status != 0 && p.Status != s.status)
		check("response body", int(p.Body.Size) > s.respSize)
		section("response", p.Headers, s.response)
		section("response trailer", p.Trailers, s.respTrai)
	}
	check("complete", x.Complete && (v.fields != s.fields() || int(x.Request.Body.Size) != s.reqSize || int(x.Response.Body.Size) != s.respSize))
	return v
}

// TestNoHeaderIsEverWrong joins late, drops segments at random, and cuts them as a snap
// length does: whatever is told is true, and most is told.
func TestNoHeaderIsEverWrong(t *testing.T) {
	for _, mode := range []struct {
		name  string
		late  bool
		loss  int // one of so many segments
		snap  int // bytes of each that are captured, 0 for all
		least float64
	}{
		{name: "74 joined late", late: true, least: 0.7}, {name: "1 % lost", loss: 100, least: 0.7},
		{name: "5 % lost", loss: 20, least: 0.4}, {name: "joined late, 5 % lost", late: true, loss: 20, least: 0.35},
		{name: "cut to 1,000", snap: 1000, least: 0.45}, {name: "cut to 200", snap: 200, least: 0.2}, {name: "cut to 50, 1 % lost", snap: 50, loss: 100, least: 0.08},
	} {
		t.Run(mode.name, func(t *testing.T) {
			told, all, pairs, streams := 0, 0, 0, 0
			for seed := range uint64(40) {
				r := rand.New(rand.NewPCG(seed, 2))
				c := newConversation(r, 60, seed%4 == 3)
				segments := c.cut(mss)
				if seed%2 == 0 {
					segments = c.cut(func() int { return 100 + r.IntN(1400) })
				}
				conn := testConn(mode.late)
				h := newHarness(t, Config{}, 100, conn)
				skip := 0
				if mode.late {
					skip = 1 + r.IntN(len(segments)/2)
				}
				after := make(map[uint32]bool) // streams that opened when somebody looked
				for i, s := range segments {
					if i < skip {
						continue
					}
					if mode.loss > 0 && r.IntN(mode.loss) == 0 {
						h.gap(s.d, len(s.bytes))
						continue
					}
					seen := len(s.bytes)
					if mode.snap > 0 {
						seen = min(seen, mode.snap)
					}
					h.chunk(s.d, s.bytes[:seen], s.acked)
					if seen < len(s.bytes) {
						h.gap(s.d, len(s.bytes)-seen)
					}
				}
				records := h.close(reassembly.CloseFIN)
				for _, x := range records {
					v := c.verify(x)
					if v.wrong != "" {
						t.Fatalf("seed %d: %s is wrong in %s", seed, v.wrong, tell([]*capstanv1.Exchange{x}))
					}
					if after[x.StreamId] {
						t.Errorf("seed %d: stream %d is told twice", seed, x.StreamId)
					}
					after[x.StreamId] = true
					told += v.fields
					if x.Request.GetMethod() != "" && x.Response.GetStatus() != 0 {
						pairs++
					}
				}
				// What could have been told: all of the streams of which anything was
				// captured.
				for id := range after {
					all += c.truth[id].fields()
					streams++
				}
			}
			share := float64(told) / float64(all)
			t.Logf("%.1f %% of %d fields are known, %.1f %% of %d streams have method and status; none is wrong", 100*share, all, 100*float64(pairs)/float64(streams), streams)
			if share < mode.least {
				t.Errorf("only %.2f of the fields are known", share)
			}
		})
	}
}

// TestUnknownFirstField: Go's client, among others, sends :authority first, which is
// a reference that can't be known after a loss. What follows tells that it is a request.
func TestUnknownFirstField(t *testing.T) {
	k := newTalk(t, Config{})
	request := func(stream uint32, method string) {
		k.client.headers(stream, true, ":authority", "h.example", ":method", method, ":path", "/"+method, ":scheme", "http")
	}
	request(1, "GET")
	k.server.headers(1, true, ok()...)
	k.flush()
	k.gap(fromClient, 50)
	request(5, "HEAD")
	k.server.headers(5, true, ok("content-length", "7")...)
	if got, want := tell(k.end()), "1 GET http h.example /GET {} 0 → []200 {} 0 complete\n"+
		"5 HEAD http  /HEAD {?=?} 0 → []200 {content-length=7} 0 HEADERS_UNKNOWN PLACE_GUESSED\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestInterimFieldsAreNotTheResponses: where it is not known that a header section is that of
// an interim response, and none that is final is seen, nothing is told of its fields.
func TestInterimFieldsAreNotTheResponses(t *testing.T) {
	early := func(k *talk) { k.server.headers(3, false, ":status", "103", "link", "b", "x-early", "c") }
	for _, tt := range []struct {
		name, want string
		play       func(k *talk)
	}{
		{"a known one follows, then one that is missing", "[100]0 {} 2 GAP HEADERS_UNKNOWN PLACE_GUESSED", func(k *talk) {
			early(k)
			k.server.headers(3, false, ":status", "100")
			k.flush()
			final := k.server.headers(3, false, ok("a", "b")...).take()
			k.send(fromServer, final[:frameHeaderLen])
			k.gap(fromServer, len(final)-frameHeaderLen)
			k.server.data(3, true, []byte("xy"))
		}},
		{"a reset follows", "[]0 {} 0 GAP HEADERS_UNKNOWN RESET PLACE_GUESSED(2)", func(k *talk) {
			early(k)
			k.server.frame(frameRSTStream, 0, 3, u32(2))
		}},
		{"trailers follow", "[]0 {?=? link=b x-early=c} 0{x-sum=1} HEADERS_UNKNOWN PLACE_GUESSED", func(k *talk) {
			early(k)
			k.server.headers(3, true, "x-sum", "1")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newTalk(t, Config{})
			k.client.headers(1, true, get("/1")...)
			k.server.headers(1, false, ":status", "103", "link", "a").headers(1, true, ok()...)
			k.client.headers(3, true, get("/3")...)
			k.flush()
			k.gap(fromServer, 50)
			tt.play(k)
			got := tell(k.end()[1:])
			if want := "3 GET http h /3 {} 0 → " + tt.want + "\n"; got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestTrailersBeforeTheRequest: behind a loss that took a response's head come its trailers,
// and only then its request, which had waited behind a hole: they are not that head.
func TestTrailersBeforeTheRequest(t *testing.T) {
	k := newTalk(t, Config{})
	k.client.headers(1, true, get("/1")...)
	k.server.headers(1, true, ok("x-sum", "1")...)
	k.flush()
	request := k.client.headers(3, true, get("/3")...).take()
	k.server.headers(3, false, ok("a", "b")...)
	k.gap(fromServer, len(k.server.take()))
	k.chunk(fromServer, k.server.frame(framePing, 0, 0, make([]byte, pingLen)).take(), k.offset[fromClient]+int64(len(request)))
	k.send(fromClient, request)
	k.server.headers(3, true, "x-sum", "1", "x-end", "2")
	if got, want := tell(k.end()[1:]), "3 GET http h /3 {} 0 → []0 {} 0 HEADERS_UNKNOWN PLACE_GUESSED\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestLengthWithoutBodyAndMethod: where the method is not known a response without
// its body may be one to HEAD.
func TestLengthWithoutBodyAndMethod(t *testing.T) {
	k := newTalk(t, Config{})
	k.gap(fromClient, 50)
	k.client.data(1, true, nil)
	k.server.headers(1, true, ok("content-length", "7")...)
	k.client.data(3, true, nil)
	k.server.headers(3, false, ok("content-length", "7")...).data(3, true, []byte("other"))
	if got, want := tell(k.end()), "1     {} 0 → []200 {content-length=7} 0 HEADERS_UNKNOWN PLACE_GUESSED\n"+
		"3     {} 0 → []200 {content-length=7} 5 MALFORMED HEADERS_UNKNOWN PLACE_GUESSED\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestPlaceIsRegainedWithinAnUpload: a server that allows for frames of 16 MiB, as
// nginx does, gets the common ones, which start anywhere in segments.
func TestPlaceIsRegainedWithinAnUpload(t *testing.T) {
	k := newTalk(t, Config{})
	k.server.settings(0x5, 1<<24-1)
	k.flush()
	k.client.headers(1, false, ":method", "POST", ":scheme", "http", ":authority", "h", ":path", "/upload")
	for i := range 6 {
		k.client.data(1, i == 5, bytes.Repeat([]byte{'x'}, defaultMaxFrame))
	}
	k.client.headers(3, true, get("/3")...)
	b := k.client.take()
	const mss, lost = 1448, 12 // the segment with the header of the second frame
	for i := 0; len(b) > 0; i++ {
		n := min(mss, len(b))
		if i == lost-1 {
			k.gap(fromClient, n)
		} else {
			k.send(fromClient, b[:n])
		}
		b = b[n:]
	}
	k.server.headers(3, true, ok()...)
	k.flush()
	if got, want := tell(k.records), "3 GET http h /3 {} 0 → []200 {} 0 complete\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	k.end()
}

// TestSnappedSegments: a snap length cuts off the end of each segment, and with it,
// once, what starts a frame. The next segment of whole frames tells where they are.
func TestSnappedSegments(t *testing.T) {
	k := newTalk(t, Config{})
	snapped := func(p *peer) {
		d := fromClient
		if p == k.server {
			d = fromServer
		}
		b := p.take()
		n := min(len(b), 60)
		k.send(d, b[:n])
		if n < len(b) {
			k.gap(d, len(b)-n)
		}
	}
	for id := uint32(1); id < 8; id += 2 {
		k.client.headers(id, true, get(fmt.Sprint("/", id))...)
		snapped(k.client)
		k.server.headers(id, false, ok()...).data(id, id > 1, make([]byte, 100))
		if id == 1 {
			k.server.data(id, true, make([]byte, 100)) // its header is missing
		}
		snapped(k.server)
	}
	var got []string
	for _, x := range k.end() {
		got = append(got, fmt.Sprint(x.StreamId, x.Response.GetStatus(), x.Response.GetBody().GetSize()))
	}
	if want := []string{"3 200 100", "5 200 100", "7 200 100", "1 200 100"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
