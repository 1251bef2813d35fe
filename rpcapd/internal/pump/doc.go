// Package pump moves frames from a capture ring into an RPCAP data channel.
//
// A [Pump] owns one goroutine that takes frames off a [Source] block by block,
// turns each into the frame as the client sees it ([Layout]), runs the client's
// filter where the kernel didn't, and writes PACKET messages in large pieces:
// short ones copied into a buffer, long ones from the ring, when the buffer or
// the vector is full, before a block that is referred to is given back, and when
// no further block is waiting; never once per frame. A slow client simply blocks the write; the ring fills
// and the kernel drops and counts, as with the reference.
package pump
