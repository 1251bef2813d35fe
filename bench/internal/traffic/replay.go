package traffic

import (
	"fmt"

	"capstan/pkg/capture"
)

// maxReplayLen bounds the bytes of a capture file that is sent: they are kept
// in memory, so that reading costs nothing while sending.
const maxReplayLen = 256 << 20

// replay sends the frames of a capture file over and over.
type replay struct {
	data  []byte
	ends  []int // of the frames in data
	count uint64

	at, start  int // next frame and where it starts
	seq, bytes uint64
}

func newReplay(p *Plan) (*replay, error) {
	r := &replay{count: p.Count}
	err := readFrames(p.File, func(f *capture.Frame) (bool, error) {
		switch {
		case f.LinkType != capture.LinkTypeEthernet:
			return false, fmt.Errorf("link type %v, only Ethernet frames can be sent", f.LinkType)
		case f.Truncated():
			return false, fmt.Errorf("cut to %d of %d bytes, only whole frames can be sent", len(f.Data), f.Len)
		case len(f.Data) < ethernetLen:
			return false, fmt.Errorf("%d bytes are no Ethernet frame", len(f.Data))
		case len(r.data)+len(f.Data) > maxReplayLen:
			return false, fmt.Errorf("more than %d bytes of frames", maxReplayLen)
		}
		r.data = append(r.data, f.Data...)
		r.ends = append(r.ends, len(r.data))
		return true, nil
	})
	if err == nil && len(r.ends) == 0 {
		err = fmt.Errorf("traffic: %s holds no frames", p.File)
	}
	return r, err
}

func (r *replay) next(f *Frame) bool {
	if r.count != 0 && r.seq >= r.count {
		return false
	}
	end := r.ends[r.at]
	copy(f.resize(end-r.start), r.data[r.start:end])
	f.Seq, f.stamp = r.seq, 0
	r.seq++
	r.bytes += uint64(end - r.start)
	r.start = end
	if r.at++; r.at == len(r.ends) {
		r.at, r.start = 0, 0
	}
	return true
}

func (r *replay) counts() Counts { return Counts{Frames: r.seq, Bytes: r.bytes} }
