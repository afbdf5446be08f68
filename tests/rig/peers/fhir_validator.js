// npm's `fhir`: validates the files that are named against the definitions of R4; prints the faults of each as JSON.
const { Fhir } = require("fhir");
const { readFileSync } = require("fs");
const validator = new Fhir();
const faults = (file) => {
  const found = validator.validate(readFileSync(file, "utf8"), { errorOnUnexpected: true });
  return found.messages.filter((one) => one.severity === "error" || one.severity === "fatal");
};
process.stdout.write(JSON.stringify(process.argv.slice(2).map(faults)));
