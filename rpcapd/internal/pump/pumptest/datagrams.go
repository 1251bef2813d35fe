package pumptest

import (
	"net"

	"golang.org/x/net/ipv4"
)

// Datagrams makes a data connection for datagrams of one that keeps the bounds of
// writes, such as net.Pipe's.
type Datagrams struct{ net.Conn }

// WriteBatch writes one message after the other.
func (d Datagrams) WriteBatch(ms []ipv4.Message, _ int) (n int, err error) {
	for _, m := range ms {
		if _, err := d.Write(m.Buffers[0]); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
