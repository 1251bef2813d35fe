// Package api serves capstan.v1.Interceptor: the records live, the account, and
// what can be changed while the interceptor runs.
//
// It is served on a unix socket, where the kernel tells who has connected, and on
// TCP with mutual TLS, where the certificate does. There are two roles: who may
// read, and who may also change things. Everybody else may ask for the server's
// health and nothing more. What is watched and what is changed is audited, by
// whom, when it begins and when it ends.
package api
