"""What the statement says around its tables."""

WARNING = "<!-- Written by `med3d pacs conformance`; a test compares. Change the code, not this page. -->"

INTRODUCTION = """# DICOM conformance statement

InfoVAE-Med3D, the release that this page comes with. Research use, not a medical device. The tables are the
program's own: this page is written by `med3d pacs conformance FOLDER`, which writes it for the release that is
installed, and the tests compare it with what the running listener negotiates. What of IHE it meets says the
[integration statement](ihe.md).

## Overview

The service takes MR images of the head from a PACS or a modality, estimates brain age from them, and sends reports
back: DICOM SR, a page as Encapsulated PDF, the same as Secondary Capture. It shows no images and keeps no archive:
what it takes cannot be fetched from it.

| network service | as user (SCU) | as provider (SCP) |
|---|---|---|
| Storage of MR images | no | yes |
| Storage of reports, pages and pictures | yes | taken with success, not kept |
| Verification | yes | yes |
| Query/Retrieve, Study Root: FIND, MOVE, GET | yes | no |
| Storage Commitment Push Model | yes | no |
| STOW-RS | yes | yes |
| QIDO-RS, WADO-RS | yes | no |

Media interchange is not supported. Printing, worklists (Modality Worklist, UPS), MPPS and Instance Availability
Notification are not."""

MODEL = """## Implementation model

Each application entity is a process of its own.

| application entity | what it does | AE title |
|---|---|---|
| listener | takes C-STORE, C-ECHO and reports on storage commitment | any, or those of `MED3D_AE_TITLES_FILE` |
| fetcher | finds and fetches studies, by DIMSE or DICOMweb | `calling_ae_title` of the peer |
| deliverer | stores results, by DIMSE or DICOMweb, and asks for their commitment | `calling_ae_title` of the peer |
| results API | STOW-RS | none |

Analysed are: {inputs}. Everything else that the listener accepts travels with such studies, and is answered with
success and forgotten.

{implementation}

Images that come by themselves belong to a study that is analysed once it was quiet for a while, or is said to be
whole; images that come again are known by their UIDs and content, and change nothing."""

LISTENING = """## Listener

### Association policies

The largest PDU that is announced is {announced} bytes; a longer one than {longest} bytes aborts the association. At
most {most} associations are open at once, {most_of_one} of one address (both may be set). The request must have
come as a whole, TLS handshake included, after {artim_s} s; an association on which nothing comes for {idle_s} s
(may be set) is ended. The listener opens no association.

{rejections}

### Presentation contexts that are accepted

Of the transfer syntaxes that a context offers, the first in this order is taken. Whatever is not in this table is
refused: abstract syntax not supported, or transfer syntaxes not supported.

{accepted}

The transfer syntaxes of this page:

{names}

### C-STORE

Level 2 (full): every instance is kept byte for byte, private attributes included, until retention removes it. No
attribute is coerced. Duplicates by SOP Instance UID: the same pixels are known and change nothing, other patient
attributes are a correction of the patient, other pixels make the study `inconsistent_study` ([what
follows](refusals.md)).

{statuses}

### N-EVENT-REPORT

Reports on storage commitment are taken from the peer that was asked, on an association that it opens. `0x0000`:
taken, also what was taken before; `0x0112`: no such transaction with this peer; `0x0113`: no such event type;
`0x0115`: the transaction or the references are missing."""

FETCHING = """## Fetcher

### Association policies

One association for each question, at most two studies of a peer at once. No limit to a PDU is announced.

{timeouts}

### Presentation contexts that are proposed

{proposed}

### C-FIND

Study Root. Matched are, as far as a request names them: {matched}. Asked for are, at the level of studies:
{study_keys}; of series: {series_keys}. Text beyond ASCII goes out as `ISO_IR 192`. Relational queries and fuzzy
matching are not asked for.

### C-GET and C-MOVE

Each MR series is fetched whole; which of the two is used says the peer's table. With C-MOVE the destination is the
listener, by the AE title that the peer knows it under. An answer that holds less than the peer says that it has, or
a sub-operation that failed, is asked for again later.

### Verification

`med3d pacs echo` and `med3d pacs check` try a peer by hand.

{tried}"""

DELIVERING = """## Deliverer

### Association policies

One association for each object. No limit to a PDU is announced.

{timeouts}

### Presentation contexts that are proposed

Those of the object at hand; storage commitment where it is asked for. An object that the peer takes uncompressed
alone is sent so.

{proposed}

### C-STORE

{statuses}

### Storage commitment

N-ACTION (Request Storage Commitment, type 1) goes out on the association that has stored the object, one instance
in each transaction; the report is awaited by the listener. One that says that the object is not kept, or none in
time, has the object sent again."""

DICOMWEB = """## DICOMweb

### STOW-RS, as origin server

`POST /dicomweb/studies` and `POST /dicomweb/studies/{{study}}`, `multipart/related; type="application/dicom"`
(PS3.10 files; bulk data and metadata apart are not taken), with an API key or a token as bearer. Answers are
`application/dicom+json`: 200 all, 202 some, 409 none of the instances. Classes and transfer syntaxes are those of
the listener.

{reasons}

There is no capabilities document, no QIDO-RS and no WADO-RS: what was stored cannot be had back.

### As user agent

QIDO-RS for studies, series and instances (the keys are those of C-FIND; answers as `application/dicom+json`);
WADO-RS for series and instances, `multipart/related; type="application/dicom"`, first in any transfer syntax, then
in the peer's default; STOW-RS with one object in a request. HTTP basic authentication, bearer tokens, client
certificates. Redirects are not followed."""

CHARACTER_SETS = """## Character sets

Taken: every Specific Character Set that PS3.3 defines, single-byte, multi-byte and code extensions, as originals
are kept as they are. Where none is stated, ASCII and UTF-8 are read and other letters become U+FFFD, unless
`MED3D_IMAGES_CHARACTER_SET` says what they are. Identifiers are read from them and written into reports in Unicode
(`ISO_IR 192`), for every object."""

SECURITY = """## Extensions

No private SOP class, transfer syntax or attribute is made or negotiated. The objects that are made are Standard
Extended: they carry study-level attributes of the images beyond their modules.

## Security

DICOM over TLS 1.2 or newer on the listener, with certificates of clients required (BCP 195 profile, where
certificate, key and authority are set; nothing is then taken without), and to peers, whose certificate and host
name are verified. Without TLS the allow-list of AE titles and addresses is all that guards the listener. An audit
trail (PS3.15 A.5, RFC 5425 syslog) records who sent and who was turned away, sealed. Working copies are
de-identified after PS3.15 annex E ([how](privacy.md)); results are filed under the patient's own identity."""

USED_ATTRIBUTES = """## Attributes that are used

Of each instance as it comes: {headers}.

Of images when they are analysed; all others are left out of the working copy, or emptied: {kept}.

Required for an answer: pixels, geometry (Pixel Spacing, Image Position and Orientation, or the functional groups of
an enhanced image) and a T1 contrast by what headers or voxels say. Patient's Birth Date with Study Date, or
Patient's Age, for the gap. What is missing is told as a refusal or a reason to look ([codes](refusals.md))."""
