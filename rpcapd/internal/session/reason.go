package session

// Reason tells why a session ended.
type Reason uint8

// The reasons.
const (
	reasonNone       Reason = iota // not ended
	ReasonClosed                   // the client said CLOSE
	ReasonEOF                      // the client closed the connection
	ReasonTimeout                  // nothing from the client for too long
	ReasonProtocol                 // the client broke the protocol
	ReasonLogin                    // too many failed logins
	ReasonTLS                      // the client speaks TLS
	ReasonPlain                    // the client doesn't speak TLS
	ReasonHandshake                // TLS could not be agreed on
	ReasonConnection               // reading or writing failed
	ReasonData                     // the data connection could not be set up
	ReasonDevice                   // the device vanished
	ReasonShutdown                 // the daemon stops, or needs the place
)

var reasonTexts = [...]string{
	reasonNone:       "running",
	ReasonClosed:     "closed by client",
	ReasonEOF:        "client hung up",
	ReasonTimeout:    "timeout",
	ReasonProtocol:   "protocol error",
	ReasonLogin:      "too many failed logins",
	ReasonTLS:        "TLS on a plain port",
	ReasonPlain:      "plain client on a TLS port",
	ReasonHandshake:  "TLS handshake failed",
	ReasonConnection: "connection failed",
	ReasonData:       "no data connection",
	ReasonDevice:     "device vanished",
	ReasonShutdown:   "shutdown",
}

// String returns the text for the log.
func (r Reason) String() string { return reasonTexts[r] }

// lingers tells whether the client must get the chance to read an answer
// before the connection goes. Closing with unread input makes the kernel send
// RST, which destroys what the client has not read.
func (r Reason) lingers() bool {
	switch r {
	case ReasonTimeout, ReasonProtocol, ReasonLogin, ReasonTLS, ReasonPlain, ReasonData, ReasonDevice:
		return true
	}
	return false
}
