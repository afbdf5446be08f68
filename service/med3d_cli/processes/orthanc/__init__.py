"""What an Orthanc needs beside its own configuration: found, shown and made by `med3d pacs orthanc-config`."""
