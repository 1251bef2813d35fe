package afpacket

import (
	"encoding/binary"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestGathered: how long a block waits for others, by their states.
func TestGathered(t *testing.T) {
	const (
		kernel = unix.TP_STATUS_KERNEL
		full   = unix.TP_STATUS_USER
		timed  = unix.TP_STATUS_USER | unix.TP_STATUS_BLK_TMO
	)
	for _, tc := range []struct {
		name   string
		gather int
		blocks [4]uint32 // from the next one on
		leased int       // one of them; 0: none
		span   time.Duration
		want   bool
	}{
		{"none", 3, [4]uint32{}, 0, 10 * time.Millisecond, false},
		{"one", 3, [4]uint32{full}, 0, 10 * time.Millisecond, false},
		{"two", 3, [4]uint32{full, full}, 0, 10 * time.Millisecond, false},
		{"all", 3, [4]uint32{full, full, full}, 0, 10 * time.Millisecond, true},
		{"one without company", 1, [4]uint32{full}, 0, 10 * time.Millisecond, true},
		{"its time is over", 3, [4]uint32{timed}, 0, 10 * time.Millisecond, true},
		{"the time of another is over", 3, [4]uint32{full, timed}, 0, 10 * time.Millisecond, true},
		{"fast", 3, [4]uint32{full}, 0, gatherFrom - 1, true},
		{"slow", 3, [4]uint32{full}, 0, gatherLimit/2 + 1, true},
		{"first after last", 3, [4]uint32{full, kernel, full}, 0, 10 * time.Millisecond, false},
		{"the other one is leased", 3, [4]uint32{full, full}, 1, 10 * time.Millisecond, true},
	} {
		file, other, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r := &Ring{mem: make([]byte, 4*blockHeaderLen), blockLen: blockHeaderLen, leased: make([]atomic.Bool, 4), index: 2,
			timeout: time.Second, gather: tc.gather, gatherFrom: gatherFrom, gatherLimit: gatherLimit, waiter: waiter{file: file}}
		for i, status := range tc.blocks {
			*statusOf(r.blockAt((r.index + i) % 4)) = status
		}
		if tc.leased > 0 {
			r.leased[(r.index+tc.leased)%4].Store(true)
		}
		first := r.blockAt(r.index)
		binary.NativeEndian.PutUint32(first[blockFirstTimeOffset:], 9)
		binary.NativeEndian.PutUint32(first[blockFirstTimeOffset+4:], 999_999_999)
		binary.NativeEndian.PutUint32(first[blockLastTimeOffset:], 10)
		binary.NativeEndian.PutUint32(first[blockLastTimeOffset+4:], uint32(tc.span-1))
		for range 2 { // the second time it is held already
			if got := r.gathered(); got != tc.want {
				t.Errorf("%s: %t", tc.name, got)
			}
		}
		if r.held != (!tc.want && tc.blocks[0] == full) {
			t.Errorf("%s: held %t", tc.name, r.held)
		}
		file.Close()
		other.Close()
	}
}

// gathering returns a ring whose full blocks wait for others, and what fills n
// blocks of it and begins another.
func gathering(t *testing.T, timeout, limit time.Duration) (r *Ring, fill func(n int)) {
	l := newLink(t)
	r = openIn(t, l.receiver, Config{Interface: l.receiverIndex, BlockLen: 1 << 16, BlockCount: 8, BlockTimeout: timeout, Gather: 3})
	r.gatherFrom, r.gatherLimit = 0, limit
	frame := make([]byte, 1400)
	copy(frame, testFrame(nil, 0)[:14])
	return r, func(n int) {
		for range n*(1<<16)/len(frame) + 1 { // with its header a frame takes more
			l.send(t, frame)
		}
	}
}

// await waits as Next does where no block is ready.
func (r *Ring) await(b *Block) error {
	r.nextMu.Lock()
	defer r.nextMu.Unlock()
	if r.closed.Load() {
		return os.ErrClosed
	}
	return r.wait(b, testWait)
}

// Blocks that fill while Next waits are there together.
func TestBlocksGather(t *testing.T) {
	r, fill := gathering(t, time.Minute, time.Minute)
	fill(1)
	sent := make(chan struct{})
	go func() { // ends by itself
		defer close(sent)
		fill(3)
	}()
	var blocks [3]Block
	if err := r.await(&blocks[0]); err != nil {
		t.Fatal(err)
	}
	for i := range blocks[1:] {
		if err := r.Next(&blocks[1+i], 0); err != nil {
			t.Errorf("block %d: %v", 2+i, err)
		}
	}
	for i := range blocks {
		if blocks[i].Len() == 0 {
			t.Errorf("block %d is empty", i)
		}
		blocks[i].Release()
	}
	<-sent
}

// A full block that no other joins is handed out in the end, and one that isn't full
// when its time is over.
func TestBlockWaitsNotForever(t *testing.T) {
	for _, tc := range []struct {
		name           string
		timeout, limit time.Duration
		blocks         int
	}{
		{"full", time.Minute, 30 * time.Millisecond, 1},
		{"not full", 30 * time.Millisecond, time.Minute, 0},
	} {
		r, fill := gathering(t, tc.timeout, tc.limit)
		fill(tc.blocks)
		var b Block
		if err := r.await(&b); err != nil || b.Len() == 0 {
			t.Errorf("%s: %d frames, %v", tc.name, b.Len(), err)
		}
		b.Release()
	}
}

// Close ends a wait for other blocks, too.
func TestCloseWhileBlocksGather(t *testing.T) {
	r, fill := gathering(t, time.Minute, time.Minute)
	fill(1)
	ended := make(chan error)
	go func() { // ends with Close
		var b Block
		err := r.await(&b)
		b.Release()
		ended <- err
	}()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil && !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}
