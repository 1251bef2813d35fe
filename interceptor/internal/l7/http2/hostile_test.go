package http2

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// encoder is one of HPACK that may do what no other does, within RFC 7541.
type encoder struct {
	r     *rand.Rand
	table []string // name\x00value, the newest last
	size  int
	max   int
	asked int // what the other end allows

	double, shrink, literal int // once in so many, 0 for never
}

// newOddEncoder returns one that does all of it.
func newOddEncoder(r *rand.Rand) *encoder {
	return &encoder{r: r, max: 4096, asked: 4096, double: 6, shrink: 15, literal: 6}
}

func (e *encoder) entrySize(f string) int { return len(f) - 1 + 32 }

func (e *encoder) once(n int) bool { return n > 0 && e.r.IntN(n) == 0 }

func (e *encoder) evict() {
	for e.size > e.max {
		e.size -= e.entrySize(e.table[0])
		e.table = e.table[1:]
	}
}

func number(b []byte, first byte, prefix uint8, n int) []byte {
	mask := 1<<prefix - 1
	if n < mask {
		return append(b, first|byte(n))
	}
	b = append(b, first|byte(mask))
	for n -= mask; n >= 128; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// staticName are names that encoders take from the static table, and fields that are in it.
var staticName = map[string]int{
	":authority": 1, ":method": 2, ":path": 4, ":scheme": 6, ":status": 8, "content-type": 31,
	":method\x00GET": 2, ":method\x00POST": 3, ":path\x00/": 4, ":scheme\x00http": 6, ":status\x00200": 8,
}

// encode returns a header block; names and values take turns.
func (e *encoder) encode(fields ...string) (b []byte) {
	if e.once(e.shrink) {
		e.max = e.r.IntN(e.asked + 1)
		b = number(b, 0x20, 5, e.max)
		e.evict()
	}
	for i := 0; i < len(fields); i += 2 {
		b = e.field(b, fields[i], fields[i+1])
	}
	return b
}

func (e *encoder) field(b []byte, name, value string) []byte {
	f := name + "\x00" + value
	if n := staticName[f]; n > 0 {
		return number(b, 0x80, 7, n)
	}
	named := staticName[name]
	for i := range e.table {
		at := len(e.table) - 1 - i
		if e.table[at] == f && !e.once(e.double) && !e.once(e.literal) {
			return number(b, 0x80, 7, 62+i)
		}
		if named == 0 && strings.HasPrefix(e.table[at], name+"\x00") {
			named = 62 + i
		}
	}
	insert := !e.once(e.literal) && e.entrySize(f) <= e.max
	if insert {
		b = number(b, 0x40, 6, named)
	} else {
		b = number(b, 0, 4, named)
	}
	if named == 0 {
		b = append(number(b, 0, 7, len(name)), name...)
	}
	b = append(number(b, 0, 7, len(value)), value...)
	if insert {
		e.table = append(e.table, f)
		e.size += e.entrySize(f)
		e.evict()
	}
	return b
}

// hostile is a connection of encoders that may do what no other does, with calls or other
// requests or both, and its truth.
type hostile struct {
	r      *rand.Rand
	enc    [2]*encoder
	out    [2][]byte
	offset [2]int64
	turns  []segment
	truth  map[uint32]*hostileSaid
	calls  int // of 10 streams
	types  []string
	paths  []string
}

type hostileSaid struct {
	call               bool
	status             string // of the call
	fields             [3]map[string]int
	requests, messages []int // lengths
}

func fieldsOf(fields []string) map[string]int {
	m := make(map[string]int)
	for i := 0; i < len(fields); i += 2 {
		m[fields[i]+"="+fields[i+1]]++
	}
	return m
}

func newHostile(r *rand.Rand, n int, kind int) *hostile {
	h := &hostile{r: r, truth: make(map[uint32]*hostileSaid), calls: []int{10, 10, 5, 0}[r.IntN(4)], types: []string{"application/grpc", "application/grpc", "application/grpc+proto"}[:1+r.IntN(3)]}
	for i := range 1 + r.IntN(5) {
		h.paths = append(h.paths, fmt.Sprintf("/some.Service/Method%d", i))
	}
	for d := range h.enc {
		e := &encoder{r: r, max: 4096, asked: 4096}
		if r.IntN(2) == d || r.IntN(3) == 0 {
			switch kind {
			case 1:
				e.double = 5 + r.IntN(60)
			case 2:
				e.shrink = 5 + r.IntN(60)
			case 3:
				e.literal = 2 + r.IntN(10)
			case 4:
				e.double, e.shrink, e.literal = 10+r.IntN(60), 10+r.IntN(60), 3+r.IntN(10)
			}
			e.max = []int{4096, 1000, 300, 200}[r.IntN(4)]
		}
		h.enc[d] = e
	}
	h.out[0] = []byte(preface)
	h.frame(fromClient, frameSettings, 0, 0, nil)
	h.frame(fromServer, frameSettings, 0, 0, nil)
	h.flush()
	id := uint32(1)
	for n > 0 {
		burst := 1 + r.IntN(3)
		for i := range burst {
			h.request(id + 2*uint32(i))
		}
		h.flush()
		for i := range burst {
			h.response(id + 2*uint32(i))
		}
		h.flush()
		n -= burst
		id += 2 * uint32(burst)
	}
	return h
}

func (h *hostile) frame(d flow.Direction, kind frameType, flags uint8, id uint32, payload []byte) {
	n := len(payload)
	h.out[d] = append(h.out[d], byte(n>>16), byte(n>>8), byte(n), byte(kind), flags)
	h.out[d] = append(binary.BigEndian.AppendUint32(h.out[d], id), payload...)
}

func (h *hostile) headers(d flow.Direction, id uint32, end bool, fields ...string) {
	flags := uint8(flagEndHeaders)
	if end {
		flags |= flagEndStream
	}
	h.frame(d, frameHeaders, flags, id, h.enc[d].encode(fields...))
}

func (h *hostile) flush() {
	for d := range h.out {
		if len(h.out[d]) > 0 {
			h.turns = append(h.turns, segment{flow.Direction(d), h.out[d], h.offset[1-d]})
			h.offset[d] += int64(len(h.out[d]))
			h.out[d] = nil
		}
	}
}

// more returns fields that any message may have, some of which look like others.
func (h *hostile) more() (fields []string) {
	for range h.r.IntN(3) {
		switch h.r.IntN(5) {
		case 0:
			fields = append(fields, "x-count", fmt.Sprint(h.r.IntN(20)))
		case 1:
			fields = append(fields, "x-id", fmt.Sprint(h.r.Uint64()))
		case 2:
			fields = append(fields, fmt.Sprintf("x-name-%d", h.r.IntN(12)), fmt.Sprintf("value %d", h.r.IntN(4)))
		case 3:
			fields = append(fields, "x-te", "trailers")
		default:
			fields = append(fields, "x-long", strings.Repeat("v", h.r.IntN(300)))
		}
	}
	return fields
}

func framed(lengths []int) (b []byte) {
	for _, n := range lengths {
		b = append(b, 0)
		b = append(binary.BigEndian.AppendUint32(b, uint32(n)), strings.Repeat("m", n)...)
	}
	return b
}

func (h *hostile) lengths(most int) (l []int) {
	for range 1 + h.r.IntN(most) {
		l = append(l, h.r.IntN(50))
	}
	return l
}

// plain returns a body that is none of a call; framed ones are rare.
func (h *hostile) plain() []byte {
	b := make([]byte, h.r.IntN(40))
	for i := range b {
		b[i] = byte(h.r.IntN(3))
	}
	switch h.r.IntN(3) {
	case 0:
		return b
	case 1:
		return []byte(`{"some": "text"}`)
	}
	return append(framed(h.lengths(2)), 0x80, 0, 0, 0, 0) // gRPC-Web
}

func (h *hostile) request(id uint32) {
	s := &hostileSaid{call: h.r.IntN(10) < h.calls}
	h.truth[id] = s
	path := h.paths[h.r.IntN(len(h.paths))]
	if !s.call {
		fields := []string{":method", []string{"GET", "POST", "PUT"}[h.r.IntN(3)], ":scheme", "http", ":authority", "h", ":path", path}
		if h.r.IntN(2) == 0 {
			fields = append(fields, "content-type", []string{"application/json", "application/grpc-web"}[h.r.IntN(2)])
		}
		fields = append(fields, h.more()...)
		s.fields[0] = fieldsOf(fields)
		h.headers(fromClient, id, false, fields...)
		h.frame(fromClient, frameData, flagEndStream, id, h.plain())
		return
	}
	fields := []string{":method", "POST", ":scheme", "http", ":path", path, ":authority", "h", "content-type", h.types[h.r.IntN(len(h.types))], "te", "trailers"}
	if h.r.IntN(4) == 0 {
		fields = append(fields, "grpc-timeout", fmt.Sprint(h.r.IntN(100000))+"u")
	}
	fields = append(fields, h.more()...)
	s.fields[0] = fieldsOf(fields)
	s.requests = h.lengths(2)
	h.headers(fromClient, id, false, fields...)
	h.frame(fromClient, frameData, flagEndStream, id, framed(s.requests))
}

func (h *hostile) response(id uint32) {
	s := h.truth[id]
	if !s.call {
		fields := append([]string{":status", []string{"200", "404"}[h.r.IntN(2)], "content-type", "text/html"}, h.more()...)
		s.fields[1] = fieldsOf(fields)
		h.headers(fromServer, id, false, fields...)
		if h.r.IntN(2) == 0 {
			h.frame(fromServer, frameData, flagEndStream, id, h.plain())
			return
		}
		h.frame(fromServer, frameData, 0, id, []byte(`{"some": "text"}`))
		trailers := append([]string{"x-sum", fmt.Sprint(h.r.IntN(30))}, h.more()...)
		s.fields[2] = fieldsOf(trailers)
		h.headers(fromServer, id, true, trailers...)
		return
	}
	s.status = []string{"0", "0", "0", "5", "13", fmt.Sprint(h.r.IntN(17))}[h.r.IntN(6)]
	trailers := []string{"grpc-status", s.status}
	if s.status != "0" || h.r.IntN(2) == 0 {
		trailers = append(trailers, "grpc-message", []string{"", "not here", "no " + fmt.Sprint(h.r.IntN(100)), "7"}[h.r.IntN(4)])
	}
	if h.r.IntN(3) == 0 {
		trailers = append(trailers, h.more()...)
	}
	if h.r.IntN(4) == 0 {
		h.r.Shuffle(len(trailers)/2, func(i, j int) {
			trailers[2*i], trailers[2*j] = trailers[2*j], trailers[2*i]
			trailers[2*i+1], trailers[2*j+1] = trailers[2*j+1], trailers[2*i+1]
		})
	}
	head := []string{":status", "200", "content-type", h.types[0]}
	if s.status != "0" && h.r.IntN(2) == 0 {
		fields := append(head, trailers...)
		s.fields[1] = fieldsOf(fields)
		h.headers(fromServer, id, true, fields...)
		return
	}
	head = append(head, h.more()...)
	s.fields[1], s.fields[2] = fieldsOf(head), fieldsOf(trailers)
	s.messages = h.lengths(3)
	h.headers(fromServer, id, false, head...)
	h.frame(fromServer, frameData, 0, id, framed(s.messages))
	h.headers(fromServer, id, true, trailers...)
}

// hostileTold counts what was told of calls.
type hostileTold struct{ calls, known, status, knownFields, fields int }

// wrong returns the first thing that x says and that is not so.
func (h *hostile) wrong(x *capstanv1.Exchange, told *hostileTold) string {
	s := h.truth[x.StreamId]
	if s == nil {
		return "no such stream"
	}
	known := func(fields []*capstanv1.Header, truth map[string]int) string {
		left := make(map[string]int)
		for k, n := range truth {
			left[k] = n
		}
		for _, f := range fields {
			told.fields++
			if f.NameUnknown || f.ValueUnknown {
				continue
			}
			told.knownFields++
			if left[f.Name+"="+f.Value]--; left[f.Name+"="+f.Value] < 0 {
				return f.Name + "=" + f.Value
			}
		}
		return ""
	}
	if q := x.Request; q != nil {
		for name, value := range map[string]string{":method": q.Method, ":path": q.Target, ":authority": q.Authority} {
			if value != "" && s.fields[0][name+"="+value] == 0 {
				return name + " " + value
			}
		}
		if w := known(q.Headers, s.fields[0]); w != "" {
			return w
		}
	}
	if p := x.Response; p != nil {
		if p.Status != 0 && s.fields[1][":status="+fmt.Sprint(p.Status)] == 0 {
			return fmt.Sprint("status ", p.Status)
		}
		if w := known(p.Headers, s.fields[1]); w != "" {
			return w
		}
		if w := known(p.Trailers, s.fields[2]); w != "" {
			return w
		}
	}
	if !s.call {
		if x.Protocol == capstanv1.Protocol_PROTOCOL_GRPC && !x.Grpc.Web {
			return "no call"
		}
		return ""
	}
	if x.Request != nil && x.Response != nil {
		told.calls++
	}
	g := x.Grpc
	if g == nil {
		return ""
	}
	told.known++
	if g.StatusKnown {
		told.status++
		if fmt.Sprint(g.Status) != s.status {
			return fmt.Sprint("grpc-status ", g.Status)
		}
	}
	for _, side := range []struct {
		there bool
		told  *capstanv1.GrpcMessages
		want  []int
	}{{x.Request != nil, g.RequestMessages, s.requests}, {x.Response != nil, g.ResponseMessages, s.messages}} {
		if side.there && !side.told.Incomplete && int(side.told.Count) != len(side.want) {
			return fmt.Sprint("messages ", side.told, side.want)
		}
	}
	return ""
}

// TestHostileEncoders joins connections late, and loses some of their segments: what is told of
// them is true, whatever their encoders do with the table; of all these also where fields are inferred.
func TestHostileEncoders(t *testing.T) {
	for kind, name := range []string{"as all do", "twice", "smaller unasked", "literals", "all of it"} {
		for _, loss := range []int{0, 100, 20} {
			for _, infer := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, 1 lost of %d, inferred %t", name, loss, infer), func(t *testing.T) {
					hostileEncoders(t, Config{InferFields: infer}, kind, loss)
				})
			}
		}
	}
}

func hostileEncoders(t *testing.T, cfg Config, kind, loss int) {
	var told hostileTold
	wrong := 0
	for seed := range uint64(hostileSeeds) {
		r := rand.New(rand.NewPCG(seed, uint64(kind*100+loss)))
		c := newHostile(r, 20+r.IntN(60), kind)
		h := newHarness(t, cfg, 100, testConn(true))
		skip := 1 + r.IntN(len(c.turns)/2)
		for i, s := range c.turns[skip:] {
			if i == 0 && r.IntN(2) == 0 {
				s.bytes = s.bytes[r.IntN(len(s.bytes)):]
			}
			if loss > 0 && r.IntN(loss) == 0 {
				h.gap(s.d, len(s.bytes))
				continue
			}
			h.chunk(s.d, s.bytes, h.offset[s.d.Reverse()])
		}
		for _, x := range h.close(reassembly.CloseFIN) {
			if w := c.wrong(x, &told); w != "" {
				if wrong++; wrong < 4 {
					t.Errorf("seed %d: %s is wrong in %s %v", seed, w, tell([]*capstanv1.Exchange{x}), x.Grpc)
				}
				break
			}
		}
	}
	t.Logf("%d of %d connections wrong; of %d calls %d known as such, %d statuses; %.1f %% of fields", wrong, hostileSeeds, told.calls, told.known, told.status, 100*float64(told.knownFields)/float64(told.fields))
}

const hostileSeeds = 60
