// Package auth tells whether a user name and a password belong together.
//
// Passwords are held against the system's accounts (passwd(5), shadow(5),
// group(5); no other source of the name service switch, since that needs
// libc) or against a file of the daemon's own. A peer can't tell an unknown
// user from a wrong password: the work and the answer are the same. Nor can it
// keep the processors busy: hashes are limited in cost, few are computed at
// once, one for each peer, and a peer that guesses waits longer and longer.
//
// What a user may do is not decided here; that is package policy.
package auth
