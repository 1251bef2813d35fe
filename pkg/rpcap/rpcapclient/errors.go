package rpcapclient

import (
	"fmt"
	"io"
	"net"
	"os"

	"capstan/pkg/rpcap"
)

// Texts of libpcap that users and programs know; Wireshark has a dialog for the
// first.
const (
	TextTerminated = "The other host terminated the connection."
	textNoServer   = "Is the server properly installed? Cannot connect to "
)

// textError is an error with a text of libpcap's, which starts with a capital.
type textError string

func (e textError) Error() string { return string(e) }

const (
	errShortAuth = textError("Authentication reply from server is too short")
	errNoVersion = textError("The server doesn't support any protocol version that we support")
)

// TerminatedError means that the server ended a connection without being
// asked to. Its text is libpcap's.
type TerminatedError struct {
	// Err is io.EOF if the connection ended between two messages and
	// io.ErrUnexpectedEOF if it ended inside one.
	Err error
}

// Error returns [TextTerminated].
func (*TerminatedError) Error() string { return TextTerminated }

// Unwrap returns Err.
func (e *TerminatedError) Unwrap() error { return e.Err }

// terminated turns the end of a connection into a [TerminatedError] and leaves
// other errors as they are.
func terminated(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return &TerminatedError{Err: err}
	}
	return err
}

// ReplyError is a message that is no answer to the request it followed. The
// session is still in step.
type ReplyError struct {
	Sent, Got rpcap.Type
}

// Error names both messages in libpcap's words.
func (e *ReplyError) Error() string {
	if !e.Got.Known() {
		return fmt.Sprintf("Message of unknown type %d received in response to a %v request", uint8(e.Got), e.Sent)
	}
	return fmt.Sprintf("%v message received in response to a %v message", e.Got, e.Sent)
}

// VersionError is a message of a version of the protocol that doesn't exist.
type VersionError struct {
	Version uint8
}

// Error is libpcap's text.
func (e *VersionError) Error() string {
	return fmt.Sprintf("Server sent us a message with version %d when we were expecting %d", e.Version, rpcap.Version)
}

// closedError is what is left after Close. It is os.ErrClosed as well as
// net.ErrClosed.
type closedError struct{ what string }

func (e closedError) Error() string { return e.what + " closed" }

func (closedError) Is(target error) bool { return target == os.ErrClosed || target == net.ErrClosed }

var (
	errClientClosed error = closedError{"session"}
	errStreamClosed error = closedError{"stream"}
)
