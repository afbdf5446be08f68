"""The results API, its database, intake, dispatch and courier."""
