# What scripts/demo starts workerd with. It lies in the run's own folder beside worker.bundle.js and ca.crt;
# @PORT@ and @DB_URL@ are filled in there.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (
      name = "internet",
      network = (
        # Loopback only: the pooler of this run.
        allow = ["127.0.0.0/8"],
        tlsOptions = (trustedCertificates = [embed "ca.crt"], trustBrowserCas = true),
      ),
    ),
  ],
  sockets = [(name = "http", address = "127.0.0.1:@PORT@", http = (), service = "main")],
);

const worker :Workerd.Worker = (
  modules = [(name = "worker", esModule = embed "worker.bundle.js")],
  compatibilityDate = "2026-07-01",
  compatibilityFlags = ["nodejs_compat"],
  globalOutbound = "internet",
  bindings = [(name = "DB_URL", text = "@DB_URL@")],
);
