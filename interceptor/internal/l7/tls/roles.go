package tls

import "capstan/pkg/flow"

// Messages of TLS 1.2 that only one of the ends sends, in the clear (RFC 5246 §7.4, RFC 6066 §8).
const (
	serverKeyExchange  = 12
	certificateRequest = 13
	serverHelloDone    = 14
	certificateVerify  = 15
	clientKeyExchange  = 16
	certificateStatus  = 22
)

// recogniseBy takes a message of the given kind, which direction d has sent, for a witness of
// who the client is, if that is not known.
func (c *Conn) recogniseBy(d flow.Direction, kind byte) {
	if c.rolesKnown {
		return
	}
	switch kind {
	case clientKeyExchange, certificateVerify:
		c.client, c.rolesKnown = d, true
	case serverKeyExchange, certificateRequest, serverHelloDone, certificateStatus:
		c.client, c.rolesKnown = d.Reverse(), true
	}
}

// guessRoles takes the end with the higher port for the client, where nothing that was said
// tells: a server's is chosen once, and mostly below those that systems choose from (RFC 6335 §6).
func (c *Conn) guessRoles() {
	if !c.rolesKnown && c.conn.Key.A.Port != c.conn.Key.B.Port {
		c.client = flow.AToB
		if c.conn.Key.B.Port > c.conn.Key.A.Port {
			c.client = flow.BToA
		}
	}
}
