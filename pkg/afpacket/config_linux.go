package afpacket

import (
	"errors"
	"math"
	"os"
	"time"
)

// Defaults of [Config].
const (
	// DefaultBlockLen holds the largest frame the kernel makes (BIG TCP,
	// 261,418 bytes); a block smaller than a frame clamps it.
	DefaultBlockLen     = 1 << 20
	DefaultBlockCount   = 8
	DefaultBlockTimeout = 100 * time.Millisecond
)

// Bounds of [Config]: the product of length and count is kernel memory.
const (
	minBlockCount = 2
	maxBlockCount = 1 << 16
	maxBlockLen   = 1 << 26
	maxRingLen    = 1 << 32
)

// Config describes a ring.
type Config struct {
	Interface int // ifindex; 0 = all interfaces

	// BlockLen is the length of a block in bytes, a multiple of the page
	// size; 0 = DefaultBlockLen. A frame longer than a block is clamped by
	// the kernel, which counts no drop: len(Frame.Data) < Frame.Len tells.
	BlockLen int
	// BlockCount is the number of blocks; 0 = DefaultBlockCount.
	BlockCount int
	// BlockTimeout is how long a block that has frames but isn't full is kept
	// back, rounded up to milliseconds; 0 = DefaultBlockTimeout.
	BlockTimeout time.Duration
	// Gather is how many full blocks a [Ring.Next] that has to wait lets gather;
	// 0 and 1 = none. What is looked at together costs less: meanwhile nobody else
	// has used the processor's caches. It holds up no frame for longer than
	// BlockTimeout, nor than 50 ms.
	Gather int
	// Promiscuous asks the interface for frames to other stations as well.
	// Where the interface can't, the capture goes on without, see
	// [Ring.Promiscuous]. It has no effect on all interfaces at once.
	Promiscuous bool
}

func (c *Config) setDefaults() {
	if c.BlockLen == 0 {
		c.BlockLen = DefaultBlockLen
	}
	if c.BlockCount == 0 {
		c.BlockCount = DefaultBlockCount
	}
	if c.BlockTimeout == 0 {
		c.BlockTimeout = DefaultBlockTimeout
	}
}

// Validate reports all impossible values, each as a [*ConfigError].
func (c Config) Validate() error {
	c.setDefaults()
	var errs []error
	bad := func(field string, value int64, reason string) {
		errs = append(errs, &ConfigError{Field: field, Value: value, Reason: reason})
	}
	if c.Interface < 0 || c.Interface > math.MaxInt32 {
		bad("Interface", int64(c.Interface), "not an interface index")
	}
	if page := os.Getpagesize(); c.BlockLen < page || c.BlockLen > maxBlockLen || c.BlockLen%page != 0 {
		bad("BlockLen", int64(c.BlockLen), "not a multiple of the page size up to 64 MiB")
	}
	if c.BlockCount < minBlockCount || c.BlockCount > maxBlockCount {
		bad("BlockCount", int64(c.BlockCount), "not from 2 to 65536")
	}
	if int64(c.BlockLen)*int64(c.BlockCount) > maxRingLen {
		bad("BlockCount", int64(c.BlockCount), "more than 4 GiB of blocks")
	}
	if c.Gather < 0 || c.Gather > c.BlockCount {
		bad("Gather", int64(c.Gather), "not from 0 to the number of blocks")
	}
	if c.BlockTimeout < 0 || c.BlockTimeout > time.Hour {
		bad("BlockTimeout", int64(c.BlockTimeout), "not from 0 to one hour")
	}
	return errors.Join(errs...)
}

func (c *Config) timeoutMillis() uint32 {
	return uint32((c.BlockTimeout + time.Millisecond - 1) / time.Millisecond)
}
