// Package terminal shows what the API tells to people: records live on a full
// screen or line by line, the status, the ledger.
//
// Whatever was captured is shown with everything escaped that could drive a
// terminal.
package terminal
