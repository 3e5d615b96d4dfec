package cmd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/cobra"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/exit"
	"sallyport.dev/sallyport/services/dial"
	"sallyport.dev/sallyport/services/protocol/enrol"
)

func (a *app) operatorCommand() *cobra.Command {
	return group("operator", "Give people and programs access, and take it away", a.operatorCreateCommand(), a.operatorRevokeCommand())
}

// operator is one call of operator create.
type operator struct {
	*app
	name, role string
	output     string
	address    string
	force      bool
}

func roles() []string { return []string{"viewer", "operator", "admin"} }

func (a *app) operatorCreateCommand() *cobra.Command {
	o := operator{app: a}
	c := &cobra.Command{
		Use:   "create NAME --role ROLE",
		Short: "Make a credential for an operator",
		Long: `Make a credential for an operator: a private key, made here and nowhere else, with a certificate of the
fleet. A viewer reads, an operator changes resources, an admin does everything.

The file holds the key: hand it over on a safe way. Whoever has it can do what the role may.`,
		Example: `  sallyport operator create alice --role operator
  sallyport operator create ci --role viewer -o ci.yaml`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := c.Flags()
	f.StringVar(&o.role, "role", "", "viewer, operator or admin")
	f.StringVarP(&o.output, "output", "o", "", "file to write (default NAME.yaml)")
	f.StringVar(&o.address, "address", "", "controller's host:port to write into the credential (default the one in use)")
	f.BoolVar(&o.force, "force", false, "replace the file if it exists")
	if err := c.MarkFlagRequired("role"); err != nil {
		panic(err) // the flag is defined above
	}
	mustComplete(c, "role", cobra.FixedCompletions(roles(), cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, args []string) error {
		o.name = args[0]
		if o.output == "" {
			o.output = o.name + ".yaml"
		}
		return o.run(c.Context())
	}
	return c
}

func (a *app) operatorRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "Make an operator's credential worthless",
		Long: `Make an operator's credential worthless, wherever copies of it are. Calls that are open end in a few
seconds. A new one under the same name can be made with sallyport operator create.

Whoever revokes the last administrator still has the controller's unix socket, as root there.`,
		Example:           `  sallyport operator revoke alice`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cancel := a.within(c.Context(), callTimeout)
			defer cancel()
			admin, err := a.admin()
			if err != nil {
				return err
			}
			if _, err := admin.RevokeOperator(ctx, &operatorv1.RevokeOperatorRequest{Name: args[0]}); err != nil {
				return err
			}
			return a.print(fmt.Appendf(nil, "operator %s revoked\n", args[0]))
		},
	}
}

func (o *operator) run(ctx context.Context) error {
	if !slices.Contains(roles(), o.role) {
		return exit.Errorf(exit.Usage, "--role %q: want viewer, operator or admin", o.role)
	}
	if !enrol.ValidName(o.name) {
		return exit.Errorf(exit.Usage, "%q is no name: lower-case letters, digits, '-' and '.', at most 63 characters", o.name)
	}
	if err := o.checkFile(); err != nil {
		return err
	}
	ctx, cancel := o.within(ctx, callTimeout)
	defer cancel()
	server, domain, err := o.fleet(ctx)
	if err != nil {
		return err
	}
	credential, err := o.issue(ctx, server, domain)
	if err != nil {
		return err
	}
	if err := credential.Save(o.output); err != nil {
		return err
	}
	o.say("%s %s may now use the fleet %s: the credential is in %s", o.role, o.name, domain, o.output)
	return nil
}

// checkFile refuses to replace a file before a certificate is issued for nothing.
func (o *operator) checkFile() error {
	_, err := os.Lstat(o.output)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case o.force:
		return nil
	}
	return exit.Errorf(exit.Conflict, "%s exists: choose another file with -o, or replace it with --force", o.output)
}

// fleet returns the address and trust domain that the credential is for.
func (o *operator) fleet(ctx context.Context) (server, domain string, err error) {
	conn, err := o.open()
	if err != nil {
		return "", "", err
	}
	server, domain = conn.Server, conn.TrustDomain
	if o.address != "" {
		server = o.address
	}
	if server == "" {
		return "", "", exit.Errorf(exit.Usage, "how do operators reach the controller? give its host:port with --address")
	}
	if domain != "" {
		return server, domain, nil
	}
	client := operatorv1.NewAdminServiceClient(conn)
	status, err := client.GetStatus(ctx, &operatorv1.GetStatusRequest{MaxPairs: 1})
	return server, status.GetController().GetTrustDomain(), err
}

func (o *operator) issue(ctx context.Context, server, domain string) (dial.Credential, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return dial.Credential{}, err
	}
	csr, err := enrol.NewRequest(rand.Reader, key)
	if err != nil {
		return dial.Credential{}, err
	}
	client, err := o.admin()
	if err != nil {
		return dial.Credential{}, err
	}
	response, err := client.IssueOperator(ctx, &operatorv1.IssueOperatorRequest{Name: o.name, Role: o.role, CertificateRequest: csr})
	if err != nil {
		return dial.Credential{}, err
	}
	credential, err := dial.NewCredential(server, domain, key, response.GetCertificateChain(), response.GetTrustBundle())
	if err != nil {
		return dial.Credential{}, exit.Errorf(exit.Failure, "cannot make a credential of the controller's answer: %w", err)
	}
	return credential, nil
}
