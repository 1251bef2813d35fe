// Package pump moves frames from a capture ring into an RPCAP data channel.
//
// A [Pump] owns one goroutine that takes frames off a [Source] in batches,
// turns each into the frame as the client sees it ([Layout]), runs the client's
// filter where the kernel didn't, and writes PACKET messages in large pieces:
// when its buffer is full and when no further block of the ring is waiting,
// never once per frame. A slow client simply blocks the write; the ring fills
// and the kernel drops and counts, as with the reference.
package pump
