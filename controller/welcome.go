package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/dial"
	"sallyport.dev/sallyport/services/protocol/enrol"
)

// firstOperator is the name of the operator whose credential the first start writes.
const firstOperator = "admin"

// welcome gives a fleet without operators its first, and says what to do next.
func (p *process) welcome(ctx context.Context, out io.Writer) error {
	if !p.options.runs(serviceOperator) {
		return nil
	}
	if has, err := p.identity.HasOperators(ctx); has || err != nil {
		return err
	}
	path := p.options.credential
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("--credential %s exists already, and the fleet has no operator: move the file away, so that the first operator's credential can be written", path)
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("--credential: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("operator's key: %w", err)
	}
	csr, err := enrol.NewRequest(rand.Reader, key)
	if err != nil {
		return fmt.Errorf("operator's certificate request: %w", err)
	}
	issued, err := p.identity.IssueOperator(ctx, &operatorv1.IssueOperatorRequest{Name: firstOperator, Role: "admin", CertificateRequest: csr})
	if err != nil {
		return fmt.Errorf("operator's certificate: %w", err)
	}
	credential, err := dial.NewCredential(p.options.advertise, p.fleet.GetTrustDomain(), key, issued.GetCertificateChain(), issued.GetTrustBundle())
	if err != nil {
		return fmt.Errorf("operator's credential: %w", err)
	}
	if err := credential.Save(path); err != nil {
		return fmt.Errorf("--credential: %w: the operator %s has a certificate but no key: start again, and make another with sallyport --socket %s operator create",
			err, firstOperator, p.options.socket)
	}
	_, err = fmt.Fprintf(out, `
This is a new fleet: trust domain %[1]s, overlay %[2]s and %[3]s.

  The operator's credential is %[4]s
  On this machine root needs none:     sallyport --socket %[5]s status

  Join a host: make a token here,      sallyport join-token create --host NAME
  and start its agent there,           sallyport-agent run --controller %[6]s --join-token TOKEN

  Then say who may talk to whom:       sallyport apply -f policy.yaml

  Keep a copy of %[7]s apart from backups of the store: nothing in the
  store can be read without it.

`, p.fleet.GetTrustDomain(), p.fleet.GetPoolIpv4(), p.fleet.GetPoolIpv6(), path, p.options.socket, p.options.advertise, p.options.rootKey())
	return err
}
