// Package rpc serves gRPC for all services of a controller: one TLS port for hosts, operators and
// other controllers, and a unix socket for the local root.
//
//	bytes ─▶ listener (limits) ─▶ TLS 1.3 or peer credentials ─▶ interceptor:
//	   recover ▶ who calls (Authenticator) ▶ may they (table.go) ▶ is the message valid ▶ handler
//	                                                             error ▶ status with google.rpc details
//
// Everything about gRPC codes is here; the services return the errors of services/fault.
package rpc
