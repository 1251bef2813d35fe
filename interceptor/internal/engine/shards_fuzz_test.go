package engine

import (
	"encoding/binary"
	"slices"
	"testing"

	"capstan/pkg/capture"
)

// script is what fuzzing makes frames by: each step takes a byte that tells what to
// do, and some more.
type script struct {
	left  []byte
	w     wire
	talks []*talk
	// interruptions happen after frames of those numbers.
	interruptions map[int][]int
}

// Bounds on what a script can make, below all limits of an engine.
const (
	maxScript       = 2000
	maxScriptFrames = 2000
	maxScriptTalks  = 16
)

// next returns the next byte, 0 behind the end.
func (s *script) next() int {
	if len(s.left) == 0 {
		return 0
	}
	b := s.left[0]
	s.left = s.left[1:]
	return int(b)
}

// The steps.
const (
	stepConnect = iota
	stepRequest
	stepResponse
	stepBytes    // of the script
	stepHTTP2    // preface, or a frame with bytes of the script
	stepFlags    // a segment without payload
	stepLose     // what was never captured
	stepForward  // the time goes on
	stepBackward // or back
	stepStray    // the last frame's time is wrong
	stepRepeat   // an earlier frame
	stepSwap     // the last frame with an earlier one
	stepWrap     // the last frame
	stepDamage   // a byte of the last frame
	stepBreak    // what is no frame
	numSteps
)

// frames carries the script out.
func (s *script) frames() []capture.Frame {
	s.w.now = 1_700_000_000e9
	s.connect()
	for len(s.left) > 0 && len(s.w.frames) < maxScriptFrames {
		step := s.next() % numSteps
		switch step {
		case stepConnect:
			s.connect()
		case stepRequest:
			c, side := s.talk()
			c.say(side, get(s.next()))
		case stepResponse:
			c, side := s.talk()
			c.say(side, answer(s.next()*20))
		case stepBytes:
			c, side := s.talk()
			c.say(side, string(s.bytes()))
		case stepHTTP2:
			c, side := s.talk()
			if kind := s.next(); kind == 0xff {
				c.say(side, preface)
			} else {
				flags, stream := byte(s.next()), uint32(s.next())
				c.say(side, string(h2frame(byte(kind), flags, stream, s.bytes())))
			}
		case stepFlags:
			c, side := s.talk()
			c.frame(side, byte(s.next()), nil)
		case stepLose:
			c, side := s.talk()
			c.seq[side] += uint32(s.next())
		case stepForward:
			s.w.now = added(s.w.now, s.duration())
		case stepBackward:
			s.w.now = added(s.w.now, -s.duration())
		default:
			s.change(step)
		}
	}
	return s.w.frames
}

// change does a step that changes frames there are.
func (s *script) change(step int) {
	i := len(s.w.frames) - 1
	last, earlier := &s.w.frames[i], &s.w.frames[max(i-s.next(), 0)]
	switch step {
	case stepStray:
		ahead := s.duration()
		last.Timestamp = added(last.Timestamp, ahead-s.duration())
	case stepRepeat:
		again := *earlier
		again.Timestamp = last.Timestamp + 1000
		s.w.frames = append(s.w.frames, again)
	case stepSwap:
		*last, *earlier = *earlier, *last
	case stepWrap:
		way, n := s.next()%numWrappings, s.next()<<8|s.next()
		if len(last.Data) > 34 {
			f := *last
			s.w.frames = append(s.w.frames[:i], wrapped(f, way, n, uint16(i))...)
		}
	case stepBreak:
		s.interruptions[i] = append(s.interruptions[i], s.next()%numInterruptions)
	case stepDamage:
		at, with := s.next()<<8|s.next(), byte(s.next())
		if len(last.Data) > 0 {
			last.Data = slices.Clone(last.Data) // which a repetition may share
			last.Data[at%len(last.Data)] ^= with
		}
	}
}

func (s *script) connect() {
	port := 40000 + len(s.talks)%maxScriptTalks
	s.talks = append(s.talks, s.w.connect(uint16(port)))
}

// talk returns one of the connections, and the side that is to say something.
func (s *script) talk() (c *talk, side int) {
	n := s.next()
	return s.talks[n/2%len(s.talks)], n % 2
}

// bytes returns some bytes of the script, whose number is the first.
func (s *script) bytes() []byte {
	n := min(s.next()%48, len(s.left))
	b := s.left[:n]
	s.left = s.left[n:]
	return b
}

// duration is anything from a microsecond to a century.
func (s *script) duration() int64 { return 1000 << (s.next() % 52) }

// added returns a time that a capture file can state.
func added(time, d int64) int64 { return min(max(time+d, 0), 1<<62-1) }

// seedScript is one in which much happens.
func seedScript() []byte {
	var b []byte
	for i := range byte(6) {
		b = append(b, stepConnect, stepRequest, 2*i, i, stepForward, i, stepResponse, 2*i+1, 40*i)
	}
	b = append(b, stepLose, 2, 100, stepRequest, 2, 7, stepResponse, 3, 200, stepWrap, 0, 4, 0, 9, stepSwap, 1, stepRepeat, 3, stepForward, 29)
	b = append(b, stepStray, 0, 41, 0, stepFlags, 4, 0x11, stepFlags, 5, 0x11, stepDamage, 0, 0, 47, 0x40, stepBackward, 35, stepFlags, 6, 0x14)
	b = append(b, stepConnect, stepHTTP2, 12, 0xff, stepHTTP2, 12, 4, 0, 0, 0, stepHTTP2, 12, 1, 5, 1, 3, 0x82, 0x86, 0x84)
	b = append(b, stepHTTP2, 13, 1, 4, 1, 1, 0x88, stepLose, 13, 50, stepForward, 35, stepHTTP2, 13, 0, 1, 1, 2, 'o', 'k')
	b = append(b, stepBytes, 8, 9)
	b = append(b, "POST / HT"...)
	b = append(b, stepWrap, 0, 7, 0, 0, stepBreak, 2, stepRequest, 2, 9, stepBreak, 4, stepResponse, 3, 9, stepWrap, 0, 4, 0, 0, stepBreak, 3)
	return append(b, stepWrap, 0, 3, 0, 0, stepWrap, 0, 2, 0, 0, stepForward, 42, stepRequest, 1, 1)
}

// FuzzShards holds that the number of shards changes nothing, whatever they get.
func FuzzShards(f *testing.F) {
	f.Add(seedScript())
	f.Add(slices.Repeat([]byte{stepRequest, 0, 1, stepStray, 0, 40, 0, stepResponse, 1, 9}, 20))
	f.Add(binary.BigEndian.AppendUint64([]byte{stepForward, 40, stepDamage, 0, 0}, 0x2f10_0c0d_0e0a_0b05))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > maxScript {
			return
		}
		s := script{left: data, interruptions: make(map[int][]int)}
		src := source{frames: s.frames(), live: len(data)%2 == 1}
		src.after = func(e *Engine, i int) {
			for _, kind := range s.interruptions[i] {
				interruption(e, kind)
			}
		}
		compareWays(t, "script", src, []way{{1, 7}, {2, 0}, {3, 7}})
	})
}
