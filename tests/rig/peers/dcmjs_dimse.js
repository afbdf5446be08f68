// dcmjs-dimse as a peer: `send PORT CALLED FILE...` prints its statuses, `receive` prints its port and what it is sent.
const { Client, Server, Scp, requests, responses, constants } = require("dcmjs-dimse");
const say = (told) => process.stdout.write(JSON.stringify(told) + "\n");
const LOCAL = "127.0.0.1";

class Keeper extends Scp {
  associationRequested(association) {
    this.association = association;
    for (const { id } of association.getPresentationContexts()) {
      const context = association.getPresentationContext(id);
      context.setResult(constants.PresentationContextResult.Accept, context.getTransferSyntaxUids()[0]);
    }
    this.sendAssociationAccept();
  }
  cStoreRequest(request, callback) {
    const held = request.getDataset();
    say({ stored: request.getAffectedSopInstanceUid(), modality: held.getElement("Modality") });
    const response = responses.CStoreResponse.fromRequest(request);
    response.setStatus(constants.Status.Success);
    callback(response);
  }
  associationReleaseRequested() {
    this.sendAssociationReleaseResponse();
  }
}

function send(port, called, files) {
  const client = new Client();
  const asked = [new requests.CEchoRequest(), ...files.map((file) => new requests.CStoreRequest(file))];
  for (const one of asked) {
    one.on("response", (response) => {
      if (response.getStatus() !== constants.Status.Pending) say({ status: response.getStatus() });
    });
    client.addRequest(one);
  }
  client.on("associationRejected", (why) => say({ rejected: why }));
  client.on("networkError", (error) => say({ error: String(error) }));
  client.send(LOCAL, Number(port), "SCANNER", called);
}

const [what, port, called, ...files] = process.argv.slice(2);
if (what === "send") {
  send(port, called, files);
} else {
  const server = new Server(Keeper);
  const probe = require("net").createServer();
  probe.listen(0, LOCAL, () => {
    const { port: free } = probe.address();
    probe.close(() => {
      server.listen(free, LOCAL);
      setTimeout(() => say({ port: free }), 50);
    });
  });
}
