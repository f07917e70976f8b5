-- GETs of one path; what is measured is printed as a line of JSON.

wrk.headers["Accept"] = "application/vnd.docker.distribution.manifest.v2+json"

dofile(os.getenv("FIGURES"))
