// Package rpcaptest is a scripted RPCAP server for tests, and recorded
// conversations to let it speak.
//
// A script is a list of [Step] values: what the server expects and what it
// sends, message by message or byte by byte, so that a test can show a client
// every server there is, a broken one included. [Recording.Replay] makes such a
// script of a conversation of the reference.
package rpcaptest
